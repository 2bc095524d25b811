using System;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>Writes to a file; nothing comes from it. A write that fails is dropped and told once: a guest's console must not stop the guest.</summary>
public sealed class FileChar : CharBackend
{
    private readonly FileDescriptor _file;
    private readonly Action<string> _warn;
    private bool _warned;

    /// <exception cref="CharOpenException">The file cannot be opened.</exception>
    public FileChar(string label, string path, bool append, Action<string> warn)
        : base(label)
    {
        _warn = warn;
        var fd = Posix.Open(path, OpenFlags.WriteOnly | OpenFlags.Create | (append ? OpenFlags.Append : OpenFlags.Truncate));
        if (fd < 0) throw new CharOpenException($"chardev {label}: cannot open '{path}': {Errno.Describe(fd)}");
        _file = new FileDescriptor(fd);
    }

    public override string FileName => "file";

    public override int Write(ReadOnlySpan<byte> data)
    {
        for (var done = 0; done < data.Length;)
        {
            var result = Posix.Write(_file.Fd, data[done..]);
            if (result == -Errno.EINTR) continue;
            if (result <= 0)
            {
                if (!_warned) _warn($"chardev {Label}: output is lost: {Errno.Describe(result)}");
                _warned = true;
                break;
            }

            done += (int)result;
        }

        return data.Length;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _file.Dispose();
        base.Dispose(disposing);
    }
}
