using System;

namespace XenDM.Core.Memory;

/// <summary>
/// The memory of a display adapter, which the home of the machine provides: pages of the guest on Xen, host memory that the software CPU maps
/// straight into the guest in the embedded machine. Machine thread only.
/// </summary>
public abstract class VideoMemory
{
    /// <summary>What is told of as written, or not, as a whole.</summary>
    public const int PageBytes = 1 << PageBits;
    private const int PageBits = 12;
    private const int WordBits = 64;

    /// <summary>A bit for each page that the adapter wrote since it was asked; null while nobody looks.</summary>
    private ulong[]? _written;

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
    public virtual void Clear()
    {
        Bytes.Clear();
        NoteWrite(0, Size);
    }

    /// <summary>
    /// The adapter shows its memory at a guest physical address from now on, or hides it. The home may map it there, so that accesses no
    /// longer come to the adapter; where it does not, the adapter answers them one by one.
    /// </summary>
    /// <param name="address">Multiple of <see cref="Size"/>.</param>
    public virtual void Show(ulong address, bool visible)
    {
    }

    /// <summary>Somebody looks, and asks which pages were written.</summary>
    public bool IsTracked => _written is not null;

    /// <summary>
    /// Called when the guest writes where the home maps the memory, at least for the first write after each <see cref="TakeDirty"/>; within the
    /// guest's doing, so that it must only take note. Null: nobody listens. Not for what <see cref="NoteWrite"/> tells.
    /// </summary>
    public Action? Touched { get; set; }

    /// <summary>While tracked, no write of the guest goes by without <see cref="Touched"/>; false: it must be asked from time to time.</summary>
    public virtual bool TellsWrites => false;

    /// <summary>Begins or ends to take note of writes; at the beginning everything counts as written.</summary>
    public void SetTracking(bool on)
    {
        if (on == IsTracked) return;
        _written = on ? new ulong[((Size >> PageBits) + WordBits - 1) / WordBits] : null;
        _written.AsSpan().Fill(ulong.MaxValue);
        TrackingChanged(on);
    }

    /// <summary>The adapter wrote bytes itself: through a window, by its engine, or for its reset. What lies outside is left out.</summary>
    public virtual void NoteWrite(int offset, int bytes)
    {
        if (_written is { } written) Mark(written, offset, bytes);
    }

    /// <summary>Which pages were written since they were asked for last.</summary>
    /// <param name="offset">Of the first page; a multiple of <see cref="PageBytes"/>. An asker that stays with the same pages costs the least.</param>
    /// <param name="bytes">A multiple of <see cref="PageBytes"/>, up to the end of the memory.</param>
    /// <param name="pages">Bit n of word n / 64 becomes that of page n from the offset; room for all of them, the rest becomes zero.</param>
    /// <returns>False when it is not known, or not tracked: all may have been written.</returns>
    public bool TakeDirty(int offset, int bytes, Span<ulong> pages)
    {
        if (((offset | bytes) & (PageBytes - 1)) != 0 || offset < 0 || bytes < 0 || offset > Size - bytes) throw new ArgumentOutOfRangeException(nameof(offset));
        pages.Clear();
        if (_written is not { } written) return false;
        if (!TakeGuestWrites(offset, bytes, pages)) return false;
        for (int page = offset >> PageBits, end = (offset + bytes) >> PageBits, n = 0; page < end; page++, n++)
        {
            var bit = 1ul << (page % WordBits);
            ref var word = ref written[page / WordBits];
            if (word == 0 && page % WordBits == 0)
            {
                page += WordBits - 1;
                n += WordBits - 1;
                continue;
            }

            if ((word & bit) == 0) continue;
            word &= ~bit;
            pages[n / WordBits] |= 1ul << (n % WordBits);
        }

        return true;
    }

    /// <summary>Adds the pages that the guest wrote where the home maps the memory, and takes note of them anew; as <see cref="TakeDirty"/>.</summary>
    /// <returns>False when that is not known.</returns>
    protected virtual bool TakeGuestWrites(int offset, int bytes, Span<ulong> pages) => false;

    /// <summary>The guest's writes are to be taken note of from now on, or no longer.</summary>
    protected virtual void TrackingChanged(bool on)
    {
    }

    private void Mark(ulong[] written, int offset, int bytes)
    {
        var end = (int)Math.Min((long)offset + bytes, Size);
        offset = Math.Max(offset, 0);
        if (end <= offset) return;
        for (int page = offset >> PageBits, last = (end - 1) >> PageBits; page <= last; page++) written[page / WordBits] |= 1ul << (page % WordBits);
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

    /// <summary>Nobody maps it, so only the adapter writes.</summary>
    public override bool TellsWrites => true;

    protected override bool TakeGuestWrites(int offset, int bytes, Span<ulong> pages) => true;
}
