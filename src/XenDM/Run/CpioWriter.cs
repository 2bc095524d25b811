using System;
using System.IO;
using System.Text;

namespace XenDM.Run;

/// <summary>Writes a cpio archive of the "newc" kind, as Linux takes it for an initial ramdisk (Documentation/driver-api/early-userspace/buffer-format.rst).</summary>
/// <remarks>Owner is root and times are 0, so that the same files give the same archive.</remarks>
internal sealed class CpioWriter : IDisposable
{
    private const int Alignment = 4;
    private const uint TypeFile = 0x8000;
    private const uint TypeFolder = 0x4000;
    private const uint TypeLink = 0xa000;
    private const uint TypeCharacterDevice = 0x2000;
    private readonly Stream _output;
    private uint _inode;
    private long _written;

    /// <param name="output">Stays open.</param>
    public CpioWriter(Stream output) => _output = output;

    /// <param name="permissions">Twelve bits, as chmod has them.</param>
    public void AddFolder(string name, uint permissions = 0x1ed) => Entry(name, TypeFolder | permissions, 2, 0, 0, []);

    /// <inheritdoc cref="AddFolder"/>
    public void AddFile(string name, ReadOnlySpan<byte> data, uint permissions) => Entry(name, TypeFile | permissions, 1, 0, 0, data);

    public void AddLink(string name, string target) => Entry(name, TypeLink | 0x1ff, 1, 0, 0, Encoding.UTF8.GetBytes(target));

    /// <summary>A character device: <c>/dev/console</c> must be there before init is started.</summary>
    public void AddCharacterDevice(string name, uint major, uint minor) => Entry(name, TypeCharacterDevice | 0x180, 1, major, minor, []);

    /// <summary>Writes the end.</summary>
    public void Dispose()
    {
        _inode = uint.MaxValue;
        Entry("TRAILER!!!", 0, 1, 0, 0, []);
    }

    private void Entry(string name, uint mode, uint links, uint major, uint minor, ReadOnlySpan<byte> data)
    {
        var nameBytes = Encoding.UTF8.GetBytes(name);
        if (nameBytes.Length == 0 || name[0] == '/') throw new ArgumentException($"'{name}' is no name in an archive", nameof(name));

        // Inode, mode, owner, group, links, time, size, device of the file system (2), device number (2), length of the name, check sum.
        var header = $"070701{++_inode:x8}{mode:x8}{0:x8}{0:x8}{links:x8}{0:x8}{data.Length:x8}{0:x8}{0:x8}{major:x8}{minor:x8}{nameBytes.Length + 1:x8}{0:x8}";
        Write(Encoding.ASCII.GetBytes(header));
        Write(nameBytes);
        Write([0]);
        Pad();
        Write(data);
        Pad();
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        _output.Write(bytes);
        _written += bytes.Length;
    }

    private void Pad()
    {
        ReadOnlySpan<byte> zeroes = [0, 0, 0];
        Write(zeroes[..(int)(-_written & (Alignment - 1))]);
    }
}
