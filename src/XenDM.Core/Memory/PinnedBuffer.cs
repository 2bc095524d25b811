using System;
using System.Runtime.InteropServices;

namespace XenDM.Core.Memory;

/// <summary>A managed buffer that does not move, so that the kernel can be given its address: sector buffers, PIO data, bounce copies.</summary>
public sealed class PinnedBuffer
{
    private readonly byte[] _bytes;

    public PinnedBuffer(int length)
    {
        _bytes = GC.AllocateArray<byte>(length, pinned: true);
        Address = length == 0 ? 0 : Marshal.UnsafeAddrOfPinnedArrayElement(_bytes, 0);
    }

    /// <summary>Host address of the first byte; valid while this object is referenced.</summary>
    public nint Address { get; }

    public int Length => _bytes.Length;

    public Span<byte> Span => _bytes;

    public byte[] Array => _bytes;
}
