using System;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>A backend on descriptors that are open from the start: pty, standard input and output, pipes, a host's serial line.</summary>
public sealed class StreamChar : CharBackend
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);
    private readonly IEventLoop _loop;
    private readonly string _fileName;
    private readonly FileDescriptor? _input;
    private readonly FileDescriptor _output;
    private readonly Action _undo;
    private readonly FileDescriptor? _keep;
    private FdStream? _stream;
    private Timer? _patience;
    private bool _waiting;
    private bool _nobodyReads;

    private StreamChar(string label, string fileName, IEventLoop loop, FileDescriptor? input, FileDescriptor output, FileDescriptor? keep, Action undo)
        : base(label)
    {
        _fileName = fileName;
        _loop = loop;
        _input = input;
        _output = output;
        _keep = keep;
        _undo = undo;
    }

    public override string FileName => _fileName;

    /// <summary>
    /// A pseudo-terminal. This process keeps the other side open too: without that, a terminal that nobody has opened reports a hang-up for
    /// ever. What is written while nobody reads stays in the kernel's buffer (4 KiB). When that has been full for a second, nobody reads: from
    /// then on output is dropped until somebody does.
    /// </summary>
    /// <exception cref="CharOpenException">The host has none left.</exception>
    public static StreamChar Pty(string label, IEventLoop loop)
    {
        var fd = Posix.OpenPty(out var path);
        if (fd < 0) throw new CharOpenException($"chardev {label}: cannot make a pseudo-terminal: {Errno.Describe(fd)}");
        var master = new FileDescriptor(fd);
        Posix.SetRaw(fd);
        var slave = Posix.Open(path, OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal);
        var keep = slave < 0 ? null : new FileDescriptor(slave);
        if (keep is not null) Posix.SetRaw(slave);
        return new StreamChar(label, "pty:" + path, loop, master, master, keep, static () => { });
    }

    /// <summary>
    /// Standard input and output. A terminal is switched to single characters and set back at the end of the process, however it ends in order.
    /// </summary>
    /// <param name="signal">Ctrl-C at the terminal still ends the process.</param>
    /// <exception cref="CharOpenException">Standard output is closed.</exception>
    public static StreamChar Stdio(string label, IEventLoop loop, bool signal)
    {
        var output = Reopen(1, OpenFlags.WriteOnly);
        if (output < 0) throw new CharOpenException($"chardev {label}: cannot use standard output: {Errno.Describe(output)}");
        var input = Reopen(0, OpenFlags.ReadOnly);
        var flags = (Posix.GetOpenFlags(0), Posix.GetOpenFlags(1));
        var saved = Posix.SaveTerminal(0);
        var restored = 0;

        void Restore()
        {
            if (Interlocked.Exchange(ref restored, 1) != 0) return;
            if (saved is not null) Posix.RestoreTerminal(0, saved);
            RestoreBlocking(0, flags.Item1);
            RestoreBlocking(1, flags.Item2);
        }

        if (saved is not null) Posix.SetCharacterMode(0, signal);
        void AtExit(object? sender, EventArgs e) => Restore();
        AppDomain.CurrentDomain.ProcessExit += AtExit;
        return new StreamChar(label, "stdio", loop, input < 0 ? null : new FileDescriptor(input), new FileDescriptor(output), null, () =>
        {
            AppDomain.CurrentDomain.ProcessExit -= AtExit;
            Restore();
        });
    }

    /// <summary>
    /// Another descriptor for a standard stream. Terminals and pipes are opened anew: O_NONBLOCK belongs to the open file, which the log and the
    /// shell share. Where that is not allowed, and for sockets and files (whose position is shared too), it is a duplicate.
    /// </summary>
    private static int Reopen(int fd, OpenFlags mode)
    {
        var result = Posix.FStat(fd, out var status);
        if (result < 0) return result;
        var own = status.IsCharDevice || status.IsPipe ? Posix.Open($"/proc/self/fd/{fd}", mode | OpenFlags.NonBlocking | OpenFlags.NoControllingTerminal) : -1;
        return own >= 0 ? own : Posix.Duplicate(fd);
    }

    private static void RestoreBlocking(int fd, int flags)
    {
        if (flags >= 0) Posix.SetNonBlocking(fd, (flags & (int)OpenFlags.NonBlocking) != 0);
    }

    /// <summary>Named pipes: PATH.in is read and PATH.out written where both are there, else PATH itself serves both ways.</summary>
    /// <exception cref="CharOpenException">Neither can be opened.</exception>
    public static StreamChar Pipe(string label, string path, IEventLoop loop)
    {
        var input = Posix.Open(path + ".in", OpenFlags.ReadWrite | OpenFlags.NonBlocking);
        var output = Posix.Open(path + ".out", OpenFlags.ReadWrite | OpenFlags.NonBlocking);
        if (input >= 0 && output >= 0)
            return new StreamChar(label, "pipe", loop, new FileDescriptor(input), new FileDescriptor(output), null, static () => { });
        if (input >= 0) Posix.Close(input);
        if (output >= 0) Posix.Close(output);
        if (output >= 0) throw new CharOpenException($"chardev {label}: cannot open '{path}.in': {Errno.Describe(input)}");
        if (input >= 0) throw new CharOpenException($"chardev {label}: cannot open '{path}.out': {Errno.Describe(output)}");
        return Device(label, path, "pipe", loop);
    }

    /// <summary>A device of the host, such as a serial line.</summary>
    /// <exception cref="CharOpenException">It cannot be opened.</exception>
    public static StreamChar Device(string label, string path, string fileName, IEventLoop loop)
    {
        var fd = Posix.Open(path, OpenFlags.ReadWrite | OpenFlags.NonBlocking | OpenFlags.NoControllingTerminal);
        if (fd < 0) throw new CharOpenException($"chardev {label}: cannot open '{path}': {Errno.Describe(fd)}");
        if (Posix.SaveTerminal(fd) is not null) Posix.SetRaw(fd);
        var both = new FileDescriptor(fd);
        return new StreamChar(label, fileName, loop, both, both, null, static () => { });
    }

    public override int Write(ReadOnlySpan<byte> data)
    {
        if (_stream is null) return data.Length;
        var taken = _stream.Write(data);
        if (taken == data.Length || _keep is null) return taken;
        if (_nobodyReads) return data.Length;
        _patience ??= new Timer(_ => _loop.Post(GiveUp), null, Timeout.Infinite, Timeout.Infinite);
        if (!_waiting) _patience.Change(s_patience, Timeout.InfiniteTimeSpan);
        _waiting = true;
        return taken;
    }

    public override void AcceptInput() => _stream?.AcceptInput();

    public override void SetBreak(bool on) => Posix.SetBreak(_output.Fd, on);

    protected override void OnAttached() => _stream = new FdStream(_loop, _input, _output, isSocket: false, Frontend!, Closed) { HasRoom = SomebodyReads };

    private void SomebodyReads()
    {
        _waiting = _nobodyReads = false;
        _patience?.Change(Timeout.Infinite, Timeout.Infinite);
    }

    private void GiveUp()
    {
        if (!_waiting) return;
        _nobodyReads = true;
        Frontend?.WriteReady();
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            if (_stream is null)
            {
                _input?.Dispose();
                _output.Dispose();
            }

            _patience?.Dispose();
            _stream?.Dispose();
            _keep?.Dispose();
            _undo();
        }

        base.Dispose(disposing);
    }

    /// <summary>End of input: what is written may still arrive somewhere, so only the reading ends.</summary>
    private void Closed()
    {
        _stream?.StopReading();
        Frontend?.Event(CharEvent.Closed);
    }
}
