using System.Threading;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>The path of a unix socket that this process listens on.</summary>
internal sealed class UnixSocketPath
{
    /// <summary>sun_path holds 108 bytes with the zero at the end.</summary>
    private const int MaxBytes = 107;

    /// <summary>A device model that is being replaced (soft reset) may still be on its way out.</summary>
    private const int BusyTries = 10;
    private const int BusyWaitMilliseconds = 100;

    private readonly string _path;
    private readonly ulong _device;
    private readonly ulong _inode;

    private UnixSocketPath(string path, int listener)
    {
        _path = path;
        Listener = listener;
        if (TryLook(path, out var status)) (_device, _inode) = (status.Device, status.Inode);
    }

    /// <summary>The listening descriptor.</summary>
    public int Listener { get; }

    /// <exception cref="CharOpenException">The path is too long, taken or not permitted.</exception>
    public static UnixSocketPath Listen(string label, string path, int backlog)
    {
        CheckLength(label, path);
        var fd = Posix.UnixListen(path, backlog);
        for (var tries = 0; fd == -Errno.EADDRINUSE; tries++)
        {
            if (TryLook(path, out var status) && !status.IsSocket)
                throw new CharOpenException($"{label}: cannot listen on '{path}': it exists and is not a socket");

            // Nobody listens any more on the path of a process that is gone. A path in use stays.
            var probe = Posix.UnixConnect(path, nonBlocking: true);
            if (probe >= 0) Posix.Close(probe);
            if (probe == -Errno.ECONNREFUSED) Posix.Unlink(path);
            else if (probe != -Errno.ENOENT)
            {
                if (tries == BusyTries) throw new CharOpenException($"{label}: cannot listen on '{path}': another process does");
                Thread.Sleep(BusyWaitMilliseconds);
            }

            fd = Posix.UnixListen(path, backlog);
            if (tries > BusyTries) break;
        }

        return fd >= 0 ? new UnixSocketPath(path, fd) : throw new CharOpenException($"{label}: cannot listen on '{path}': {Errno.Describe(fd)}");
    }

    /// <exception cref="CharOpenException">It is longer than an address can be.</exception>
    public static void CheckLength(string label, string path)
    {
        var bytes = System.Text.Encoding.UTF8.GetByteCount(path);
        if (bytes > MaxBytes)
            throw new CharOpenException($"{label}: the path of a unix socket has at most {MaxBytes} bytes, this one has {bytes}: '{path}'");
        if (bytes == 0) throw new CharOpenException($"{label}: the path of the unix socket is empty");
    }

    /// <summary>Removes the path, unless a successor has put its own socket there.</summary>
    public void Remove()
    {
        if (TryLook(_path, out var status) && status.Device == _device && status.Inode == _inode) Posix.Unlink(_path);
    }

    private static bool TryLook(string path, out FileStatus status)
    {
        status = default;
        var fd = Posix.Open(path, OpenFlags.PathOnly | OpenFlags.NoFollow);
        if (fd < 0) return false;
        var result = Posix.FStat(fd, out status);
        Posix.Close(fd);
        return result >= 0;
    }
}
