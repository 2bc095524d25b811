using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.Tracing;
using XenDM.Vnc.Clipboard;
using XenDM.Vnc.Keymaps;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc;

/// <summary>
/// The VNC server of one guest. Made, asked and disposed on the machine thread; all else runs in tasks of its own, which only post to that thread: a look at
/// the picture (<see cref="SharedPicture"/>), keys and pointer. Without clients it does nothing at all.
/// </summary>
public sealed class VncServer : IDisposable
{
    private readonly object _lock = new();
    private readonly VncOptions _options;
    private readonly ScreenHub _screen;
    private readonly InputHub _input;
    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _stop = new();
    private readonly SharedPicture _picture;
    private readonly UpdatePacer _pacer;
    private readonly TlsServer? _tls;
    private readonly Keymap _keymap;
    private readonly SharedClipboard _clipboard = new();
    private readonly LinkedList<CancellationTokenSource> _strangers = [];
    private VncClient[] _clients = [];
    private VncListener? _listener;
    private string? _password;
    private DateTimeOffset _expires = DateTimeOffset.MaxValue;

    /// <exception cref="VncException">The credentials cannot be read, or there is no such keyboard layout.</exception>
    public VncServer(VncOptions options, ScreenHub screen, InputHub input, IEventLoop loop, IMachineLog log, TimeProvider? time = null)
    {
        _options = options;
        _screen = screen;
        _input = input;
        _loop = loop;
        _log = log;
        _keymap = LoadKeymap(options.Keymap);
        _time = time ?? TimeProvider.System;
        _password = options.Password;
        _tls = options.Credentials is { } credentials ? new TlsServer(credentials) : null;

        // The first random number opens the kernel's source of them, which a later root directory may lack.
        _ = Guid.NewGuid();
        _picture = new SharedPicture(screen, loop, () => _pacer!.Changed(), TellLeds);
        _pacer = new UpdatePacer(_picture, _time, () => Served, Fail, _stop.Token);
        _input.LedsChanged += TellLeds;
    }

    /// <summary>Called on the machine thread when a connection was made, when its client was let in, and when a connection ended.</summary>
    public Action<VncClientInfo>? Connected { get; set; }

    /// <inheritdoc cref="Connected"/>
    public Action<VncClientInfo>? Initialized { get; set; }

    /// <inheritdoc cref="Connected"/>
    public Action<VncClientInfo>? Disconnected { get; set; }

    public VncOptions Options => _options;

    /// <summary>Where clients can come to, after <see cref="Listen"/>; the first one is the one that matters.</summary>
    public IReadOnlyList<VncEnd> Addresses => _listener?.Ends ?? [];

    /// <summary>The number of the display after <see cref="Listen"/>; -1 for none.</summary>
    public int Display => _listener?.Display ?? -1;

    /// <summary>Security in QEMU's words: none, vnc, vencrypt+x509+none, vencrypt+x509+vnc.</summary>
    public string Security => (_tls, _options.NeedsPassword) switch
    {
        (null, false) => "none",
        (null, true) => "vnc",
        (_, false) => "vencrypt+x509+none",
        _ => "vencrypt+x509+vnc",
    };

    /// <summary>Those who were let in.</summary>
    public IReadOnlyList<VncClientInfo> Clients
    {
        get
        {
            var clients = Volatile.Read(ref _clients);
            return Array.ConvertAll(clients, static c => c.Info);
        }
    }

    internal IReadOnlyList<VncClient> Served => Volatile.Read(ref _clients);

    internal CancellationToken Stopped => _stop.Token;

    /// <summary>Opens the addresses; connections made from now on are served.</summary>
    /// <exception cref="VncException">An address cannot be had.</exception>
    public void Listen()
    {
        _listener = VncListener.Open(_options);
        _listener.Start(this, _stop.Token);
    }

    /// <summary>Clients that come from now on need this password. It counts only where passwords are asked for.</summary>
    /// <param name="password">Null or empty: none gets in.</param>
    public void SetPassword(string? password)
    {
        lock (_lock) _password = password;
    }

    /// <summary>From then on the password is none.</summary>
    public void ExpirePassword(DateTimeOffset when)
    {
        lock (_lock) _expires = when;
    }

    public void Dispose()
    {
        _input.LedsChanged -= TellLeds;
        _stop.Cancel();
        _listener?.Dispose();
        _picture.Close();
        _tls?.Dispose();
    }

    /// <summary>Serves a connection until it ends. Whatever the other end does, the task ends well.</summary>
    /// <param name="stream">Disposed at the end.</param>
    internal async Task ServeAsync(Stream stream, VncEnd server, VncEnd peer, bool isWeb)
    {
        var info = new VncClientInfo(server, peer, null);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var stranger = Enter(patience);
        Post(() => Connected?.Invoke(info));
        var why = "went";
        try
        {
            patience.CancelAfter(_options.Patience);
            if (isWeb && _tls is not null) stream = await _tls.AcceptAsync(stream, patience.Token);
            if (isWeb) stream = await WebSocketUpgrade.AcceptAsync(stream, patience.Token);
            var agreed = await new Handshake(_options.NeedsPassword, isWeb ? null : _tls, IsPassword).RunAsync(stream, patience.Token);
            stream = agreed.Stream;
            info = info with { CertificateName = agreed.CertificateName };
            Leave(stranger);
            stranger = null;
            patience.CancelAfter(Timeout.InfiniteTimeSpan);
            await ServeClientAsync(agreed, info);
        }
        catch (Exception e) when (e is RfbException or AuthenticationException)
        {
            why = e.Message;
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The connection is gone, as connections go.
        }
        catch (OperationCanceledException)
        {
            why = stranger is not null ? "took too long to be let in" : "was sent away";
        }
        catch (Exception e)
        {
            // A mistake of ours. The line at the end counts towards the bound, so that nobody fills the log with these.
            Post(() =>
            {
                if (_log.GuestAllowed) _log.Warn("vnc", $"client {Name(peer)}: {e}");
            });
        }
        finally
        {
            if (stranger is not null) Leave(stranger);
            try
            {
                await stream.DisposeAsync();
            }
            catch (Exception e) when (e is IOException or SocketException or InvalidOperationException or CryptographicException)
            {
                // There was a last word to say to one who is gone.
            }

            var ended = info;
            Post(() =>
            {
                _log.Guest("vnc", $"client {Name(peer)} {why}");
                Disconnected?.Invoke(ended);
            });
        }
    }

    internal void Post(Action work)
    {
        if (!_stop.IsCancellationRequested) _loop.Post(work);
    }

    /// <summary>A line in the log that clients can cause, and so bounded.</summary>
    internal void Tell(string text) => Post(() => _log.Guest("vnc", text));

    /// <summary>A mistake of our own: the machine thread ends the process with it, as with those of chips.</summary>
    private void Fail(Exception e) => Post(() => throw new InvalidOperationException("the VNC server failed", e));

    private static string Name(VncEnd end) => end.Family == "unix" ? "at the Unix socket" : $"{end.Host}:{end.Service}";

    private async Task ServeClientAsync(Handshaken agreed, VncClientInfo info)
    {
        var output = new ClientOutput(agreed.Stream, _picture, _clipboard, _options, _pacer.Wake);
        output.Clipboard.Cut = OfferClipboard;
        using var client = new VncClient(info, agreed.Reader, agreed.IsShared, output, MakeInput, _stop.Token) { Typed = _pacer.Typed };
        await _pacer.LookOnceAsync(_stop.Token);
        await _picture.Gate.EnterReadAsync();
        try
        {
            output.Start();
            Add(client);
        }
        finally
        {
            _picture.Gate.ExitRead();
        }

        Post(() =>
        {
            Initialized?.Invoke(info);
            output.SetLeds(_input.Leds);
        });
        try
        {
            await client.RunAsync();
        }
        finally
        {
            lock (_lock) Volatile.Write(ref _clients, Array.FindAll(_clients, c => c != client));
            _pacer.Wake();
        }
    }

    private void OfferClipboard(ClientClipboard owner)
    {
        foreach (var client in Served)
            if (client.Output.Clipboard != owner) client.Output.Clipboard.Offer();
    }

    private static Keymap LoadKeymap(string name)
    {
        try
        {
            return Keymap.Load(name);
        }
        catch (ArgumentException e)
        {
            throw new VncException(e.Message, e);
        }
    }

    private ClientInput MakeInput(Action modeChanged) => new(_input, _keymap, _loop, _time, TimeSpan.FromMilliseconds(_options.KeyDelay), modeChanged);

    /// <summary>Lets a client in, as far as it and those who are in agree to share.</summary>
    /// <exception cref="RfbException">It may not come in.</exception>
    private void Add(VncClient client)
    {
        VncClient[] others;
        lock (_lock)
        {
            others = _clients;
            var isExclusive = !client.IsShared;
            if (_options.Sharing == VncSharing.ForceShared && isExclusive) throw new RfbException("wants the screen alone, which is not allowed");
            if (_options.Sharing == VncSharing.AllowExclusive && !isExclusive && Array.Exists(others, static c => !c.IsShared)) throw new RfbException("comes while another one has the screen alone");
            var takesAll = _options.Sharing == VncSharing.AllowExclusive && isExclusive;
            if (!takesAll && others.Length >= _options.MaxClients) throw new RfbException($"is one too many: there are {_options.MaxClients} clients");
            Volatile.Write(ref _clients, takesAll ? [client] : [.. others, client]);
            if (!takesAll) others = [];
        }

        foreach (var other in others) other.End();
        _pacer.Wake();
    }

    /// <summary>Half-open connections are few: the oldest makes room.</summary>
    private LinkedListNode<CancellationTokenSource> Enter(CancellationTokenSource patience)
    {
        CancellationTokenSource? oldest = null;
        LinkedListNode<CancellationTokenSource> node;
        lock (_lock)
        {
            if (_strangers.Count >= _options.MaxStrangers)
            {
                oldest = _strangers.First!.Value;
                _strangers.RemoveFirst();
            }

            node = _strangers.AddLast(patience);
        }

        try
        {
            oldest?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It left by itself just now.
        }

        return node;
    }

    private void Leave(LinkedListNode<CancellationTokenSource> node)
    {
        lock (_lock)
            if (node.List is not null) _strangers.Remove(node);
    }

    private bool IsPassword(byte[] challenge, ReadOnlyMemory<byte> answer)
    {
        string? password;
        lock (_lock) password = _time.GetUtcNow() < _expires ? _password : null;
        if (string.IsNullOrEmpty(password)) return false;
        Span<byte> expected = stackalloc byte[DesPassword.ChallengeLength];
        DesPassword.Answer(password, challenge, expected);
        return CryptographicOperations.FixedTimeEquals(expected, answer.Span);
    }

    /// <summary>Machine thread only.</summary>
    private void TellLeds()
    {
        foreach (var client in Served) client.Output.SetLeds(_input.Leds);
    }
}
