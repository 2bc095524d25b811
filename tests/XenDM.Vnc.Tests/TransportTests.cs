using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc.Tests;

public sealed class TransportTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-vnc-").FullName;
    private readonly X509Certificate2 _authority;

    public TransportTests()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Test CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        _authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllText(Path.Combine(_folder, "ca-cert.pem"), _authority.ExportCertificatePem());
        using var server = Issue("localhost", _authority);
        File.WriteAllText(Path.Combine(_folder, "server-cert.pem"), server.ExportCertificatePem());
        File.WriteAllText(Path.Combine(_folder, "server-key.pem"), server.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
    }

    public void Dispose()
    {
        _authority.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("secret")]
    public void TlsByVeNCrypt(string? password)
    {
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, false), NeedsPassword = password is not null, Password = password });
        Assert.Equal(password is null ? "vencrypt+x509+none" : "vencrypt+x509+vnc", host.Server.Security);
        using var client = StartTls(host, password is null ? 260 : 261);
        client.Stream = Secure(client.Stream, null);
        if (password is not null) client.Answer(password);
        Assert.Equal(0u, client.Receive32());
        client.Begin();
        client.Request(isIncremental: false);
        Assert.NotEmpty(client.ReceiveUpdate());
    }

    [Fact]
    public void AClientWithACertificateGetsIn()
    {
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, true) });
        using var client = StartTls(host, 260);
        using var own = Issue("somebody", _authority);
        client.Stream = Secure(client.Stream, own);
        Assert.Equal(0u, client.Receive32());
        client.Begin();
        host.Until(() => host.Server.Clients is [{ CertificateName: "CN=somebody" }]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithoutAGoodCertificateNobodyGetsIn(bool hasOne)
    {
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, true) });
        using var client = StartTls(host, 260);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var self = new CertificateRequest("CN=somebody", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        Assert.True(Record.Exception(() =>
        {
            client.Stream = Secure(client.Stream, hasOne ? self : null);
            client.Receive(4);
        }) is IOException or AuthenticationException);
        host.Until(() => !host.Log.Lines.IsEmpty);
        Assert.Empty(host.Server.Clients);
    }

    /// <summary>A certificate can say where its issuer's is to be fetched. A stranger would choose that address, and this process would go there.</summary>
    [Fact]
    public void NothingIsFetchedThatAStrangersCertificateNames()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, true) });
        using var client = StartTls(host, 260);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Other CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var other = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var own = Issue("somebody", other, new X509AuthorityInformationAccessExtension(null, [$"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/ca.cer"]));
        Assert.True(Record.Exception(() =>
        {
            client.Stream = Secure(client.Stream, own);
            client.Receive(4);
        }) is IOException or AuthenticationException);
        host.Until(() => !host.Log.Lines.IsEmpty);
        Assert.False(listener.Pending());
    }

    [Fact]
    public void WhatIsNoTlsIsCutOff()
    {
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, false) });
        using var client = StartTls(host, 260);
        client.Send(new byte[1000]);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void OldClientsAreToldThatTheyNeedVeNCrypt()
    {
        using var host = new VncHost(new VncOptions { Credentials = new VncCredentials(_folder, false) });
        using var client = new RfbClient(host.Port);
        client.Receive(12);
        client.Send("RFB 003.003\n"u8.ToArray());
        Assert.Equal(0u, client.Receive32());
        Assert.Contains("VeNCrypt", client.ReceiveText(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("server-cert.pem")]
    [InlineData("server-key.pem")]
    [InlineData("ca-cert.pem")]
    public void AMissingFileIsNamed(string file)
    {
        File.Delete(Path.Combine(_folder, file));
        var error = Assert.Throws<VncException>(() => new TlsServer(new VncCredentials(_folder, true)));
        Assert.Contains(_folder, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ARevocationListIsNotPassedOver()
    {
        File.WriteAllText(Path.Combine(_folder, "ca-crl.pem"), "");
        Assert.Throws<VncException>(() => new TlsServer(new VncCredentials(_folder, true)));
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public async Task BrowsersComeByWebSocket(bool isSecure, bool asksForProtocol)
    {
        using var host = new VncHost(new VncOptions { WebSocket = new VncWebSocket(null, 0), NeedsPassword = true, Password = "pw", Credentials = isSecure ? new VncCredentials(_folder, false) : null });
        using var socket = new ClientWebSocket();
        if (asksForProtocol) socket.Options.AddSubProtocol("binary");
        socket.Options.RemoteCertificateValidationCallback = static (_, peer, _, _) => peer?.Issuer == "CN=Test CA";
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await socket.ConnectAsync(new Uri($"{(isSecure ? "wss" : "ws")}://127.0.0.1:{host.WebPort}/any/path"), patience.Token);
        Assert.Equal(asksForProtocol ? "binary" : null, socket.SubProtocol);
        await Task.Run(() =>
        {
            using var client = new RfbClient(new BlockingWebSocket(socket));
            client.Handshake(8, "pw");
            client.Request(isIncremental: false);
            Assert.NotEmpty(client.ReceiveUpdate());
            host.Until(() => host.Server.Clients is [{ Server.IsWebSocket: true }]);
        });
        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "", patience.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
        host.Until(() => host.Server.Clients.Count == 0);
    }

    [Fact]
    public void AUnixSocketIsGoneAfterwards()
    {
        var path = Path.Combine(_folder, "vnc");

        // One that a process left behind: closed, and its file is still there, because it has another name meanwhile.
        using (var old = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            old.Bind(new UnixDomainSocketEndPoint(path + ".old"));
            File.Move(path + ".old", path);
        }

        Assert.True(File.Exists(path));
        using (var host = new VncHost(new VncOptions { UnixPath = path }))
        {
            Assert.Equal(new VncEnd("", path, "unix", false), host.Server.Addresses[0]);
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 20_000 };
            socket.Connect(new UnixDomainSocketEndPoint(path));
            using var client = new RfbClient(new NetworkStream(socket, ownsSocket: true));
            client.Handshake();
            Assert.Throws<VncException>(() => VncListener.Open(new VncOptions { UnixPath = path }));
        }

        Assert.False(File.Exists(path));
    }

    [Fact]
    public void AFileIsNotTakenForASocket()
    {
        var path = Path.Combine(_folder, "file");
        File.WriteAllText(path, "mine");
        Assert.Throws<VncException>(() => VncListener.Open(new VncOptions { UnixPath = path }));
        Assert.Equal("mine", File.ReadAllText(path));
    }

    [Fact]
    public void TheNextDisplayIsTriedWhereThatIsAllowed()
    {
        // Which displays are free on this host nobody knows: the first server finds one, the second one is told to begin there.
        using var first = VncListener.Open(new VncOptions { Host = "127.0.0.1", Display = 200, LastDisplay = 20000, WebSocket = new VncWebSocket(null, null) });
        var error = Assert.Throws<VncException>(() => VncListener.Open(new VncOptions { Host = "127.0.0.1", Display = first.Display, LastDisplay = first.Display }));
        Assert.Contains((5900 + first.Display).ToString(System.Globalization.CultureInfo.InvariantCulture), error.Message, StringComparison.Ordinal);
        using var second = VncListener.Open(new VncOptions { Host = "127.0.0.1", Display = first.Display, LastDisplay = 20000 });
        Assert.True(second.Display > first.Display);
        Assert.Equal([$"{5900 + first.Display}", $"{5700 + first.Display}"], first.Ends.Select(static e => e.Service));
    }

    [Theory]
    [InlineData("", true, true)]
    [InlineData("localhost", true, false)]
    [InlineData("127.0.0.1", false, false)]
    public void HostsAreResolved(string host, bool isV6, bool isAny)
    {
        var hasV6 = Socket.OSSupportsIPv6;
        using var listener = VncListener.Open(new VncOptions { Host = host, Port = 0, AllowsIPv6 = isV6 });
        Assert.Equal(isAny && hasV6 ? "::" : isAny ? "0.0.0.0" : "127.0.0.1", listener.Ends[0].Host);
        using var client = new RfbClient(int.Parse(listener.Ends[0].Service));
    }

    [Theory]
    [InlineData("no.such.host.invalid")]
    [InlineData("192.0.2.1")]
    public void AHostThatIsNotHereIsAnError(string host) => Assert.Throws<VncException>(() => VncListener.Open(new VncOptions { Host = host, Port = 0 }));

    private static RfbClient StartTls(VncHost host, int type)
    {
        var client = new RfbClient(host.Port);
        client.Receive(12);
        client.Send("RFB 003.008\n"u8.ToArray());
        Assert.Equal(new byte[] { 1, 19 }, client.Receive(2));
        client.Send(19);
        Assert.Equal(new byte[] { 0, 2 }, client.Receive(2));
        client.Send(0, 2);
        Assert.Equal(new byte[] { 0, 1 }, client.Receive(2));
        Assert.Equal((uint)type, client.Receive32());
        client.Send(RfbClient.Long((uint)type));
        Assert.Equal(1, client.Receive(1)[0]);
        return client;
    }

    private static SslStream Secure(Stream stream, X509Certificate2? own)
    {
        var tls = new SslStream(stream);
        tls.AuthenticateAsClient(new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            RemoteCertificateValidationCallback = static (_, peer, _, _) => peer?.Issuer == "CN=Test CA",
            ClientCertificateContext = own is null ? null : SslStreamCertificateContext.Create(own, null, offline: true),
        });
        return tls;
    }

    private static X509Certificate2 Issue(string name, X509Certificate2 authority, params X509Extension[] extensions)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        foreach (var extension in extensions) request.CertificateExtensions.Add(extension);
        var serial = RandomNumberGenerator.GetBytes(8);
        using var bare = request.Create(authority, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(12), serial);
        return bare.CopyWithPrivateKey(key);
    }

    /// <summary>A client's WebSocket as a stream that waits.</summary>
    private sealed class BlockingWebSocket(ClientWebSocket socket) : MemoryStream
    {
        public override int Read(Span<byte> buffer)
        {
            var bytes = new byte[buffer.Length];
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            var result = socket.ReceiveAsync(bytes, patience.Token).GetAwaiter().GetResult();
            bytes.AsSpan(0, result.Count).CopyTo(buffer);
            return result.MessageType == WebSocketMessageType.Close ? 0 : result.Count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Write(ReadOnlySpan<byte> buffer) => socket.SendAsync(buffer.ToArray(), WebSocketMessageType.Binary, true, default).GetAwaiter().GetResult();
    }
}
