using System;
using System.IO;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Vnc.Transport;

/// <summary>The server's end of TLS, with the files of a folder of credentials; they are read once, while the file system is within reach.</summary>
internal sealed class TlsServer : IDisposable
{
    private const string CertificateFile = "server-cert.pem", KeyFile = "server-key.pem", AuthorityFile = "ca-cert.pem", RevocationFile = "ca-crl.pem";
    private readonly SslStreamCertificateContext _certificate;
    private readonly X509Certificate2Collection _authorities = [];
    private readonly bool _verifyPeer;

    /// <exception cref="VncException">A file is missing or wrong.</exception>
    public TlsServer(VncCredentials credentials)
    {
        _verifyPeer = credentials.VerifyPeer;
        var folder = credentials.Folder;
        try
        {
            var own = X509Certificate2.CreateFromPemFile(Path.Combine(folder, CertificateFile), Path.Combine(folder, KeyFile));
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(Path.Combine(folder, CertificateFile));
            chain.RemoveAt(0);
            _certificate = SslStreamCertificateContext.Create(own, chain, offline: true);
            if (!_verifyPeer) return;
            _authorities.ImportFromPemFile(Path.Combine(folder, AuthorityFile));
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new VncException($"the TLS credentials in '{folder}' cannot be read: {e.Message}", e);
        }

        // Clients whose certificates were called back would get in.
        if (File.Exists(Path.Combine(folder, RevocationFile))) throw new VncException($"revocation lists are not built: '{Path.Combine(folder, RevocationFile)}'");
    }

    /// <exception cref="AuthenticationException">The client does not speak TLS, or may not come in.</exception>
    public async Task<SslStream> AcceptAsync(Stream stream, CancellationToken stop)
    {
        var tls = new SslStream(stream, leaveInnerStreamOpen: false);
        try
        {
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = _certificate,
                ClientCertificateRequired = _verifyPeer,
                RemoteCertificateValidationCallback = (_, peer, _, _) => !_verifyPeer || IsKnown(peer),
                CertificateChainPolicy = ChainPolicy(),
                AllowRenegotiation = false,

                // Tickets for later sessions would come together with the first message, which TigerVNC then leaves lying until something else comes.
                AllowTlsResume = false,
            }, stop);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    public void Dispose() => _certificate.TargetCertificate.Dispose();

    private bool IsKnown(X509Certificate? peer)
    {
        if (peer is not X509Certificate2 certificate) return false;
        using var chain = new X509Chain();
        chain.ChainPolicy = ChainPolicy();
        return chain.Build(certificate);
    }

    /// <summary>
    /// The authority of the folder alone is trusted. SslStream builds a chain too before it asks <see cref="IsKnown"/>: neither may fetch what a
    /// stranger's certificate names, or he could send this process anywhere.
    /// </summary>
    private X509ChainPolicy ChainPolicy()
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        policy.CustomTrustStore.AddRange(_authorities);
        return policy;
    }
}
