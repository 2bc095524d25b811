using System;

namespace XenDM.Core.Memory;

/// <summary>
/// The memory of a display adapter, which the home of the machine provides: pages of the guest on Xen, host memory that the software CPU maps
/// straight into the guest in the embedded machine. Machine thread only.
/// </summary>
public abstract class VideoMemory
{
    /// <param name="size">Bytes, a power of two from 256 KiB to 256 MiB.</param>
    protected VideoMemory(int size)
    {
        if (size is < 256 << 10 or > 256 << 20 || !System.Numerics.BitOperations.IsPow2(size)) throw new ArgumentOutOfRangeException(nameof(size), $"{size} bytes are no size for video memory");
        Size = size;
    }

    /// <summary>Bytes.</summary>
    public int Size { get; }

    /// <summary>All of it; valid until control goes back to the machine.</summary>
    public abstract Span<byte> Bytes { get; }

    /// <summary>The content is saved and restored with the guest's RAM; the adapter leaves it out of its own state.</summary>
    public virtual bool IsSavedWithRam => false;

    /// <summary>Power on: all zeros.</summary>
    public virtual void Clear() => Bytes.Clear();

    /// <summary>
    /// The adapter shows its memory at a guest physical address from now on, or hides it. The home may map it there, so that accesses no
    /// longer come to the adapter; where it does not, the adapter answers them one by one.
    /// </summary>
    /// <param name="address">Multiple of <see cref="Size"/>.</param>
    public virtual void Show(ulong address, bool visible)
    {
    }
}

/// <summary>Video memory in a managed array: for tests, and where nobody maps it.</summary>
public sealed class ManagedVideoMemory : VideoMemory
{
    private readonly byte[] _bytes;

    /// <inheritdoc cref="VideoMemory(int)"/>
    public ManagedVideoMemory(int size)
        : base(size) => _bytes = new byte[size];

    public override Span<byte> Bytes => _bytes;

    /// <summary>Where the adapter shows it, or null.</summary>
    public ulong? ShownAt { get; private set; }

    public override void Show(ulong address, bool visible) => ShownAt = visible ? address : null;
}
