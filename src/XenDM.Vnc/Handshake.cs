using System;
using System.Buffers.Binary;
using System.Globalization;
using System.IO;
using System.Net.Security;
using System.Security.Authentication;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc;

/// <summary>What a connection is once its client has shown that it may come in.</summary>
/// <param name="Stream">With TLS where that was agreed on.</param>
/// <param name="IsShared">The client does not ask for the screen alone.</param>
/// <param name="CertificateName">Of the client; null for none.</param>
internal sealed record Handshaken(Stream Stream, RfbReader Reader, bool IsShared, string? CertificateName);

/// <summary>
/// The first part of a connection (RFC 6143, 7.1 to 7.3.1): version, security, what the client wants to share. Versions 3.3, 3.7 and 3.8; security none,
/// password, and VeNCrypt with an X.509 certificate and none or a password within. (Anonymous TLS is not there: the platform's TLS has no such suites.)
/// </summary>
internal sealed class Handshake
{
    private const int VersionLength = 12;

    /// <summary>After this a client has read what TLS sent it on its own, see <see cref="StartTlsAsync"/>.</summary>
    private static readonly TimeSpan s_ticketsRead = TimeSpan.FromMilliseconds(200);

    private readonly bool _needsPassword;
    private readonly TlsServer? _tls;
    private readonly Func<byte[], ReadOnlyMemory<byte>, bool> _isPassword;
    private int _minor;

    /// <param name="tls">Null: no TLS from here on, because there is none, or the connection has it already.</param>
    /// <param name="isPassword">Compares the answer to a challenge.</param>
    public Handshake(bool needsPassword, TlsServer? tls, Func<byte[], ReadOnlyMemory<byte>, bool> isPassword)
    {
        _needsPassword = needsPassword;
        _tls = tls;
        _isPassword = isPassword;
    }

    /// <exception cref="RfbException">The client may not come in.</exception>
    /// <exception cref="EndOfStreamException">It went.</exception>
    public async Task<Handshaken> RunAsync(Stream stream, CancellationToken stop)
    {
        var reader = new RfbReader(stream);
        await SendAsync(stream, "RFB 003.008\n"u8.ToArray(), stop);
        _minor = Minor((await reader.ReadAsync(VersionLength, stop)).Span);
        var type = _tls is not null ? Rfb.SecurityVeNCrypt : _needsPassword ? Rfb.SecurityPassword : Rfb.SecurityNone;
        if (_minor < 7)
        {
            if (_tls is not null) await RefuseAsync(stream, "this server needs a client that knows VeNCrypt", stop);
            await SendAsync(stream, [0, 0, 0, type], stop);
        }
        else
        {
            await SendAsync(stream, [1, type], stop);
            var chosen = (await reader.ReadAsync(1, stop)).Span[0];
            if (chosen != type) await RefuseAsync(stream, "this security type was not offered", stop);
        }

        string? name = null;
        if (_tls is not null)
        {
            var secure = await StartTlsAsync(stream, reader, _tls, stop);
            name = secure.RemoteCertificate?.Subject;
            stream = secure;
            reader = new RfbReader(stream);
        }

        if (_needsPassword) await CheckPasswordAsync(stream, reader, stop);
        if (_needsPassword || _minor >= 8) await SendAsync(stream, [0, 0, 0, 0], stop);
        var isShared = (await reader.ReadAsync(1, stop)).Span[0] != 0;
        return new Handshaken(stream, reader, isShared, name);
    }

    /// <returns>3, 7 or 8. Clients that are older, newer or peculiar get the next one below that there is.</returns>
    private static int Minor(ReadOnlySpan<byte> version)
    {
        const NumberStyles digits = NumberStyles.None;
        if (!version.StartsWith("RFB "u8) || version[7] != '.' || version[11] != '\n'
            || !int.TryParse(version[4..7], digits, CultureInfo.InvariantCulture, out var major) || !int.TryParse(version[8..11], digits, CultureInfo.InvariantCulture, out var minor))
            throw new RfbException("does not speak RFB");
        return (major, minor) switch
        {
            ( < 3, _) => throw new RfbException($"speaks RFB {major}.{minor}, which is too old"),
            ( > 3, _) or (3, >= 8) => 8,
            (3, 7) => 7,
            _ => 3,
        };
    }

    private static async Task SendAsync(Stream stream, byte[] message, CancellationToken stop)
    {
        await stream.WriteAsync(message, stop);
        await stream.FlushAsync(stop);
    }

    /// <summary>Ends the security handshake; the version decides in which words.</summary>
    private async Task RefuseAsync(Stream stream, string reason, CancellationToken stop)
    {
        byte[] failed = [0, 0, 0, (byte)(_minor < 7 ? 0 : 1)];
        if (_minor == 7) await SendAsync(stream, failed, stop);
        else await SendAsync(stream, [.. failed, 0, 0, 0, (byte)reason.Length, .. Encoding.ASCII.GetBytes(reason)], stop);
        throw new RfbException(reason);
    }

    /// <summary>VeNCrypt 0.2: version, the one sub-type that there is, and then TLS.</summary>
    private async Task<SslStream> StartTlsAsync(Stream stream, RfbReader reader, TlsServer tls, CancellationToken stop)
    {
        await SendAsync(stream, [0, 2], stop);
        var version = await reader.ReadAsync(2, stop);
        var isKnown = version.Span is [0, 2];
        await SendAsync(stream, [(byte)(isKnown ? 0 : 0xff)], stop);
        if (!isKnown) throw new RfbException("wants another version of VeNCrypt than 0.2");
        var type = _needsPassword ? Rfb.X509Password : Rfb.X509None;
        await SendAsync(stream, [1, 0, 0, (byte)(type >> 8), (byte)type], stop);
        isKnown = BinaryPrimitives.ReadUInt32BigEndian((await reader.ReadAsync(4, stop)).Span) == type;
        await SendAsync(stream, [(byte)(isKnown ? 1 : 0)], stop);
        if (!isKnown) throw new RfbException("wants another kind of VeNCrypt than was offered");
        reader.Finish();
        var secured = await tls.AcceptAsync(stream, stop);

        // With TLS 1.3 tickets for later sessions follow, and the platform cannot leave them out. When they come in one piece with the first message,
        // TigerVNC 1.12 lets that lie until more comes, which is never: it has to have read them first.
        if (secured.SslProtocol == SslProtocols.Tls13) await Task.Delay(s_ticketsRead, stop);
        return secured;
    }

    private async Task CheckPasswordAsync(Stream stream, RfbReader reader, CancellationToken stop)
    {
        var challenge = MakeChallenge();
        await SendAsync(stream, challenge, stop);
        var answer = await reader.ReadAsync(DesPassword.ChallengeLength, stop);
        if (_isPassword(challenge, answer)) return;
        const string reason = "Authentication failed";
        if (_minor >= 8) await SendAsync(stream, [0, 0, 0, 1, 0, 0, 0, (byte)reason.Length, .. Encoding.ASCII.GetBytes(reason)], stop);
        else await SendAsync(stream, [0, 0, 0, 1], stop);
        throw new RfbException("does not know the password");
    }

    /// <summary>Random numbers of the kernel, by way of GUIDs: they need no library of the host, and no file once the process has made its first one.</summary>
    private static byte[] MakeChallenge()
    {
        var (bytes, more) = (Guid.NewGuid().ToByteArray(), Guid.NewGuid().ToByteArray());

        // A GUID has six bits that are no random numbers; they lie elsewhere in the other one turned around.
        for (var i = 0; i < bytes.Length; i++) bytes[i] ^= more[bytes.Length - 1 - i];
        return bytes;
    }
}
