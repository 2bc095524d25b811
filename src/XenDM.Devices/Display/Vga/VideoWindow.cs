using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;

namespace XenDM.Devices.Display.Vga;

/// <summary>Video memory byte by byte in a BAR, where the home does not map it.</summary>
internal sealed class VideoWindow(VideoMemory memory, ChangeBell bell) : IBulkRegion
{
    public ulong Read(ulong offset, int size)
    {
        ulong value = 0;
        var bytes = memory.Bytes.Slice((int)offset, size);
        for (var i = 0; i < size; i++) value |= (ulong)bytes[i] << (8 * i);
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        var bytes = memory.Bytes.Slice((int)offset, size);
        for (var i = 0; i < size; i++) bytes[i] = (byte)(value >> (8 * i));
        memory.NoteWrite((int)offset, size);
        bell.Ring();
    }

    public void ReadBlock(ulong offset, int size, Span<byte> data) => memory.Bytes.Slice((int)offset, data.Length).CopyTo(data);

    public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
    {
        data.CopyTo(memory.Bytes[(int)offset..]);
        memory.NoteWrite((int)offset, data.Length);
        bell.Ring();
    }
}
