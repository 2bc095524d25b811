using System;
using System.Collections.Generic;
using System.Net;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Slirp;

/// <summary>What libslirp calls, always from inside a call of <see cref="SlirpStack"/>. Nothing here may throw or call back.</summary>
public interface ISlirpUser
{
    /// <summary>A frame for the guest, without FCS; valid during the call.</summary>
    void FrameForGuest(ReadOnlySpan<byte> frame);

    /// <summary>The guest did something wrong, in libslirp's words (UTF-8).</summary>
    void GuestError(ReadOnlySpan<byte> text);

    /// <summary>The descriptors have to be asked for again.</summary>
    void Notify();
}

/// <summary>What <see cref="SlirpStack"/> is to be; null leaves a choice to libslirp.</summary>
public sealed record SlirpOptions
{
    public bool HasIpv4 { get; init; } = true;

    public bool HasIpv6 { get; init; } = true;

    public bool IsRestricted { get; init; }

    public required IPAddress Network { get; init; }

    public required IPAddress Mask { get; init; }

    public required IPAddress Host { get; init; }

    public required IPAddress DhcpStart { get; init; }

    public required IPAddress NameServer { get; init; }

    public required IPAddress Prefix6 { get; init; }

    public int Prefix6Length { get; init; } = 64;

    public required IPAddress Host6 { get; init; }

    public required IPAddress NameServer6 { get; init; }

    public string? HostName { get; init; }

    public string? TftpServerName { get; init; }

    public string? TftpPath { get; init; }

    public string? BootFile { get; init; }

    public IReadOnlyList<string> DnsSearch { get; init; } = [];

    public string? DomainName { get; init; }
}

/// <summary>SLIRP_POLL_*.</summary>
[Flags]
public enum SlirpEvents
{
    None = 0,
    In = 1,
    Out = 2,
    Priority = 4,
    Error = 8,
    Hangup = 16,
}

/// <summary>
/// One instance of libslirp: TCP/IP of the guest's network on the host's sockets. Used from one thread. It works in wall time, whatever the guest's
/// clock does: what it waits for are hosts outside.
/// </summary>
public sealed unsafe partial class SlirpStack : SafeHandle
{
    private const string Library = "libslirp.so.0";
    private const uint ConfigVersion = 1;

    /// <summary>libslirp has one, for IPv6 router advertisements.</summary>
    private const int MaxTimers = 8;
    private const long Never = long.MaxValue;

    private readonly ISlirpUser _user;
    private readonly GCHandle _self;
    private readonly SlirpCallbacks* _callbacks;
    private readonly Timer[] _timers = new Timer[MaxTimers];
    private readonly List<(int Fd, SlirpEvents Events)> _wanted = [];
    private Func<int, SlirpEvents>? _ready;

    private struct Timer
    {
        public delegate* unmanaged<nint, void> Callback;
        public nint Opaque;

        /// <summary>Milliseconds of the monotonic clock.</summary>
        public long Deadline;
    }

    /// <exception cref="DllNotFoundException">The library is not installed.</exception>
    /// <exception cref="InvalidOperationException">It refuses the configuration.</exception>
    public SlirpStack(SlirpOptions options, ISlirpUser user)
        : base(0, ownsHandle: true)
    {
        _user = user;
        _callbacks = (SlirpCallbacks*)NativeMemory.AllocZeroed((nuint)sizeof(SlirpCallbacks));
        *_callbacks = new SlirpCallbacks
        {
            SendPacket = &OnSendPacket,
            GuestError = &OnGuestError,
            ClockNanoseconds = &OnClock,
            TimerNew = &OnTimerNew,
            TimerFree = &OnTimerFree,
            TimerModify = &OnTimerModify,
            RegisterPollFd = &OnPollFd,
            UnregisterPollFd = &OnPollFd,
            Notify = &OnNotify,
        };
        _self = GCHandle.Alloc(this);
        try
        {
            SetHandle(Create(options));
        }
        catch
        {
            Release();
            throw;
        }

        if (!IsInvalid) return;
        Release();
        throw new InvalidOperationException("libslirp refuses the configuration");
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The version of the library.</summary>
    /// <exception cref="DllNotFoundException">It is not installed.</exception>
    public static string Version => Marshal.PtrToStringUTF8(slirp_version_string()) ?? "";

    /// <summary>The first time that <see cref="RunTimers"/> has something to do at, in milliseconds of the monotonic clock; the largest number for never.</summary>
    public long NextTimer
    {
        get
        {
            var next = Never;
            foreach (ref readonly var timer in _timers.AsSpan())
                if (timer.Callback != null) next = Math.Min(next, timer.Deadline);
            return next;
        }
    }

    private nint Pointer => IsClosed ? throw new ObjectDisposedException(nameof(SlirpStack)) : handle;

    /// <summary>A frame of the guest, without FCS; its checksums are filled in.</summary>
    public void Input(ReadOnlySpan<byte> frame)
    {
        fixed (byte* p = frame) slirp_input(Pointer, p, frame.Length);
    }

    /// <summary>Which descriptors to wait for. Positions in the list are what <see cref="Poll"/> asks for.</summary>
    /// <param name="wanted">Valid until the next call.</param>
    /// <returns>Milliseconds after which to call <see cref="Poll"/> at the latest.</returns>
    public uint FillPoll(out ReadOnlySpan<(int Fd, SlirpEvents Events)> wanted)
    {
        _wanted.Clear();
        var timeout = uint.MaxValue;
        slirp_pollfds_fill(Pointer, &timeout, &OnAddPoll, GCHandle.ToIntPtr(_self));
        wanted = CollectionsMarshal.AsSpan(_wanted);
        return timeout;
    }

    /// <summary>Serves what is ready, and the timeouts of TCP.</summary>
    /// <param name="ready">What the descriptor at a position of the last <see cref="FillPoll"/> is ready for.</param>
    public void Poll(Func<int, SlirpEvents> ready)
    {
        _ready = ready;
        slirp_pollfds_poll(Pointer, 0, &OnGetEvents, GCHandle.ToIntPtr(_self));
    }

    /// <summary>Runs the timers whose time has come.</summary>
    public void RunTimers()
    {
        var now = Milliseconds();
        for (var i = 0; i < MaxTimers; i++)
        {
            var timer = _timers[i];
            if (timer.Callback == null || timer.Deadline > now) continue;
            _timers[i].Deadline = Never;
            timer.Callback(timer.Opaque);
        }
    }

    /// <summary>Milliseconds of the clock that timers go by.</summary>
    public static long Milliseconds() => Posix.MonotonicNanoseconds() / 1_000_000;

    /// <summary>Forwards a port of the host to the guest.</summary>
    /// <param name="guest">0.0.0.0: where DHCP begins.</param>
    /// <returns>0, or the negative errno.</returns>
    public int AddForward(bool isUdp, IPAddress host, int hostPort, IPAddress guest, int guestPort) =>
        slirp_add_hostfwd(Pointer, isUdp ? 1 : 0, Address(host), hostPort, Address(guest), guestPort) < 0 ? -Math.Max(1, Marshal.GetLastPInvokeError()) : 0;

    /// <returns>False: there is no such forward.</returns>
    public bool RemoveForward(bool isUdp, IPAddress host, int hostPort) => slirp_remove_hostfwd(Pointer, isUdp ? 1 : 0, Address(host), hostPort) >= 0;

    /// <summary>A table of the connections for people.</summary>
    public string Connections()
    {
        var text = slirp_connection_info(Pointer);
        var result = Marshal.PtrToStringUTF8(text) ?? "";
        g_free(text);
        return result;
    }

    protected override bool ReleaseHandle()
    {
        slirp_cleanup(handle);
        Release();
        return true;
    }

    private void Release()
    {
        if (_self.IsAllocated) _self.Free();
        NativeMemory.Free(_callbacks);
    }

    private nint Create(SlirpOptions options)
    {
        var texts = new List<nint>();
        byte* Text(string? text)
        {
            if (text is null) return null;
            texts.Add(Marshal.StringToCoTaskMemUTF8(text));
            return (byte*)texts[^1];
        }

        var search = stackalloc byte*[options.DnsSearch.Count + 1];
        for (var i = 0; i < options.DnsSearch.Count; i++) search[i] = Text(options.DnsSearch[i]);
        search[options.DnsSearch.Count] = null;
        var config = new SlirpConfig
        {
            Version = ConfigVersion,
            Restricted = options.IsRestricted ? 1 : 0,
            HasIpv4 = options.HasIpv4 ? (byte)1 : (byte)0,
            Network = Address(options.Network),
            Mask = Address(options.Mask),
            Host = Address(options.Host),
            HasIpv6 = options.HasIpv6 ? (byte)1 : (byte)0,
            Prefix6Length = (byte)options.Prefix6Length,
            HostName = Text(options.HostName),
            TftpServerName = Text(options.TftpServerName),
            TftpPath = Text(options.TftpPath),
            BootFile = Text(options.BootFile),
            DhcpStart = Address(options.DhcpStart),
            NameServer = Address(options.NameServer),
            DnsSearch = options.DnsSearch.Count > 0 ? search : null,
            DomainName = Text(options.DomainName),
        };
        options.Prefix6.TryWriteBytes(new Span<byte>(config.Prefix6, 16), out _);
        options.Host6.TryWriteBytes(new Span<byte>(config.Host6, 16), out _);
        options.NameServer6.TryWriteBytes(new Span<byte>(config.NameServer6, 16), out _);
        try
        {
            return slirp_new(&config, _callbacks, GCHandle.ToIntPtr(_self));
        }
        finally
        {
            foreach (var text in texts) Marshal.FreeCoTaskMem(text);
        }
    }

    /// <summary><c>struct in_addr</c>: the bytes as they are on the wire.</summary>
    private static uint Address(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        return MemoryMarshal.Read<uint>(bytes);
    }

    private static SlirpStack From(nint opaque) => (SlirpStack)GCHandle.FromIntPtr(opaque).Target!;

    [UnmanagedCallersOnly]
    private static nint OnSendPacket(byte* frame, nuint length, nint opaque)
    {
        if (length > int.MaxValue) return -1;
        From(opaque)._user.FrameForGuest(new ReadOnlySpan<byte>(frame, (int)length));
        return (nint)length;
    }

    [UnmanagedCallersOnly]
    private static void OnGuestError(byte* message, nint opaque) => From(opaque)._user.GuestError(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(message));

    [UnmanagedCallersOnly]
    private static long OnClock(nint opaque) => Posix.MonotonicNanoseconds();

    [UnmanagedCallersOnly]
    private static nint OnTimerNew(delegate* unmanaged<nint, void> callback, nint argument, nint opaque)
    {
        var timers = From(opaque)._timers;
        for (var i = 0; i < timers.Length; i++)
        {
            if (timers[i].Callback != null) continue;
            timers[i] = new Timer { Callback = callback, Opaque = argument, Deadline = Never };
            return i + 1;
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static void OnTimerFree(nint timer, nint opaque)
    {
        if (timer is > 0 and <= MaxTimers) From(opaque)._timers[timer - 1] = default;
    }

    [UnmanagedCallersOnly]
    private static void OnTimerModify(nint timer, long expire, nint opaque)
    {
        if (timer is > 0 and <= MaxTimers) From(opaque)._timers[timer - 1].Deadline = expire;
    }

    /// <summary>Descriptors are asked for before each wait, so that nothing has to be remembered.</summary>
    [UnmanagedCallersOnly]
    private static void OnPollFd(int fd, nint opaque)
    {
    }

    [UnmanagedCallersOnly]
    private static void OnNotify(nint opaque) => From(opaque)._user.Notify();

    [UnmanagedCallersOnly]
    private static int OnAddPoll(int fd, int events, nint opaque)
    {
        var wanted = From(opaque)._wanted;
        wanted.Add((fd, (SlirpEvents)events));
        return wanted.Count - 1;
    }

    [UnmanagedCallersOnly]
    private static int OnGetEvents(int index, nint opaque) => (int)From(opaque)._ready!(index);

    [LibraryImport(Library)]
    private static partial nint slirp_new(SlirpConfig* config, SlirpCallbacks* callbacks, nint opaque);

    [LibraryImport(Library)]
    private static partial void slirp_cleanup(nint slirp);

    [LibraryImport(Library)]
    private static partial void slirp_pollfds_fill(nint slirp, uint* timeout, delegate* unmanaged<int, int, nint, int> add, nint opaque);

    [LibraryImport(Library)]
    private static partial void slirp_pollfds_poll(nint slirp, int selectError, delegate* unmanaged<int, nint, int> events, nint opaque);

    [LibraryImport(Library)]
    private static partial void slirp_input(nint slirp, byte* frame, int length);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int slirp_add_hostfwd(nint slirp, int isUdp, uint host, int hostPort, uint guest, int guestPort);

    [LibraryImport(Library)]
    private static partial int slirp_remove_hostfwd(nint slirp, int isUdp, uint host, int hostPort);

    [LibraryImport(Library)]
    private static partial nint slirp_connection_info(nint slirp);

    [LibraryImport(Library)]
    private static partial nint slirp_version_string();

    [LibraryImport("libglib-2.0.so.0")]
    private static partial void g_free(nint memory);
}
