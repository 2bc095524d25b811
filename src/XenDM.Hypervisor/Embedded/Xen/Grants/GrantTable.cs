using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading;
using XenDM.Core.State;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Grants;

/// <summary>What an entry gives access to: part of a page of RAM, which is held until it is let go of.</summary>
/// <param name="Page">Host address of the page.</param>
/// <param name="Offset">First byte that may be touched.</param>
/// <param name="Bytes">How many.</param>
internal readonly record struct GrantedPage(nint Page, int Offset, int Bytes);

/// <summary>
/// The guest's grant table, versions 1 and 2 (xen/public/grant_table.h, xen/common/grant_table.c): pages of entries that the guest writes and
/// Xen reads, with marks while a page is in use. Entries are read once, then checked. Looking an entry up is for any thread.
/// </summary>
internal sealed unsafe class GrantTable(Physmap physmap, ushort domain) : IStateful
{
    /// <summary>Frames of entries, xl's default of max_grant_frames.</summary>
    public const int MaxFrames = 64;

    /// <summary>Entries that only the toolstack fills: console, xenstore, and six more.</summary>
    private const uint ReservedEntries = 8;
    private const uint ConsoleEntry = 0, StoreEntry = 1;
    private const int EntryBytes1 = 8, EntryBytes2 = 16;
    private const int PageBytes = 4096;

    /// <summary>A status word of 2 bytes for each entry of version 2.</summary>
    private const int MaxStatusFrames = MaxFrames * (PageBytes / EntryBytes2) * 2 / PageBytes;
    private const ushort TypeMask = 3, PermitAccess = 1, ReadOnly = 1 << 2, Reading = 1 << 3, Writing = 1 << 4, SubPage = 1 << 8;

    private readonly nint[] _frames = new nint[MaxFrames];
    private readonly nint[] _status = new nint[MaxStatusFrames];
    private readonly Dictionary<uint, Use> _uses = [];
    private readonly Lock _gate = new();
    private int _count;
    private int _statusCount;
    private int _version = 1;

    /// <summary>How often a page is in use for reading and for writing.</summary>
    private struct Use
    {
        public int Readers, Writers;
    }

    public int Version => _version;

    public int Frames => _count;

    private uint Entries => (uint)(_count * (PageBytes / EntryBytes));

    private int EntryBytes => _version == 1 ? EntryBytes1 : EntryBytes2;

    /// <summary>One frame, with the entries that the toolstack makes for the guest's console and xenstore.</summary>
    public void Reset(ulong consoleFrame, ulong storeFrame)
    {
        lock (_gate)
        {
            Array.Clear(_frames);
            Array.Clear(_status);
            _uses.Clear();
            (_count, _statusCount, _version) = (0, 0, 1);
            TryGrow(1);
            foreach (var (entry, frame) in (ReadOnlySpan<(uint, ulong)>)[(ConsoleEntry, consoleFrame), (StoreEntry, storeFrame)])
            {
                var at = Entry(entry);
                Unsafe.WriteUnaligned(at + 4, (uint)frame);
                Unsafe.WriteUnaligned(at, (uint)PermitAccess | (XenConstants.DomainZero << 16));
            }
        }
    }

    /// <summary>The page of a frame, to be shown to the guest; the table grows to have it.</summary>
    /// <param name="status">A frame of status words, which version 2 has.</param>
    public bool TryGetFrame(bool status, ulong index, out nint page)
    {
        page = 0;
        lock (_gate)
        {
            if (status)
            {
                if (_version != 2 || index >= MaxStatusFrames || !TryGrowStatus((int)index + 1)) return false;
                page = _status[index];
                return true;
            }

            if (index >= MaxFrames || !TryGrow((int)index + 1)) return false;
            page = _frames[index];
            return true;
        }
    }

    /// <summary>The table has at least so many frames.</summary>
    /// <returns>False when it may not.</returns>
    public bool TryGrow(int frames)
    {
        if (frames > MaxFrames) return false;
        lock (_gate)
        {
            while (_count < frames)
            {
                if (!physmap.TryAllocateSpecial(out _frames[_count])) return false;
                _count++;
            }

            return _version == 1 || TryGrowStatus(StatusFramesFor(_count));
        }
    }

    /// <summary>GNTTABOP_set_version: entries of the other form are gone, but for the reserved ones.</summary>
    /// <returns>0, or a negative errno.</returns>
    public long SetVersion(uint version)
    {
        if (version is not (1 or 2)) return -Errno.EINVAL;
        lock (_gate)
        {
            if (version == _version) return 0;
            foreach (var entry in _uses.Keys)
                if (entry >= ReservedEntries) return -Errno.EBUSY;
            var kept = stackalloc (ushort Flags, ushort Domain, ulong Frame)[(int)ReservedEntries];
            for (uint n = 0; n < ReservedEntries; n++)
            {
                var at = Entry(n);
                kept[n] = (Unsafe.ReadUnaligned<ushort>(at), Unsafe.ReadUnaligned<ushort>(at + 2), _version == 1 ? Unsafe.ReadUnaligned<uint>(at + 4) : Unsafe.ReadUnaligned<ulong>(at + 8));
            }

            if (version == 2 && !TryGrowStatus(StatusFramesFor(_count))) return -Errno.ENOMEM;
            _version = (int)version;
            for (var n = 0; n < _count; n++) Physmap.Bytes(_frames[n]).Clear();
            for (var n = 0; n < _statusCount; n++) Physmap.Bytes(_status[n]).Clear();
            for (uint n = 0; n < ReservedEntries; n++)
            {
                if ((kept[n].Flags & TypeMask) != PermitAccess) continue;
                var at = Entry(n);
                if (version == 1) Unsafe.WriteUnaligned(at + 4, (uint)kept[n].Frame);
                else Unsafe.WriteUnaligned(at + 8, kept[n].Frame);
                Unsafe.WriteUnaligned(at + 2, kept[n].Domain);
                Unsafe.WriteUnaligned(at, kept[n].Flags);
            }

            return 0;
        }
    }

    /// <summary>GNTTABOP_swap_grant_ref.</summary>
    public GrantStatus Swap(uint a, uint b)
    {
        lock (_gate)
        {
            if (a >= Entries || b >= Entries) return GrantStatus.BadReference;
            if (_uses.ContainsKey(a) || _uses.ContainsKey(b)) return GrantStatus.Busy;
            var first = new Span<byte>(Entry(a), EntryBytes);
            var second = new Span<byte>(Entry(b), EntryBytes);
            Span<byte> kept = stackalloc byte[EntryBytes];
            first.CopyTo(kept);
            second.CopyTo(first);
            kept.CopyTo(second);
            return GrantStatus.Okay;
        }
    }

    /// <summary>Takes an entry into use: its page is held and the guest sees that it is.</summary>
    /// <param name="by">The domain that uses it.</param>
    /// <param name="whole">The page is to be mapped: parts of pages cannot be.</param>
    public GrantStatus Begin(uint reference, ushort by, bool write, bool whole, out GrantedPage granted)
    {
        granted = default;
        lock (_gate)
        {
            if (reference >= Entries) return GrantStatus.BadReference;
            var entry = Entry(reference);
            var head = Volatile.Read(ref *(uint*)entry);
            var flags = (ushort)head;
            if ((flags & TypeMask) != PermitAccess || (ushort)(head >> 16) != by) return GrantStatus.GeneralError;
            if (write && (flags & ReadOnly) != 0) return GrantStatus.GeneralError;
            var (offset, bytes) = (0, PageBytes);
            ulong frame;
            if (_version == 1)
            {
                frame = Unsafe.ReadUnaligned<uint>(entry + 4);
            }
            else
            {
                frame = Unsafe.ReadUnaligned<ulong>(entry + 8);
                if ((flags & SubPage) != 0)
                {
                    var part = Unsafe.ReadUnaligned<uint>(entry + 4);
                    (offset, bytes) = ((ushort)part, (int)(part >> 16));
                    if (whole || offset + bytes > PageBytes) return GrantStatus.GeneralError;
                }
            }

            if (!physmap.TryHold(frame, out var page)) return GrantStatus.BadPage;
            _uses.TryGetValue(reference, out var use);
            if (write) use.Writers++;
            else use.Readers++;
            _uses[reference] = use;
            Mark(reference, use);
            granted = new GrantedPage(page, offset, bytes);
            return GrantStatus.Okay;
        }
    }

    /// <summary>Lets go of what <see cref="Begin"/> gave.</summary>
    public void End(uint reference, bool write, in GrantedPage granted)
    {
        physmap.Release(granted.Page);
        lock (_gate)
        {
            // The table may have been reset meanwhile.
            if (!_uses.TryGetValue(reference, out var use)) return;
            if (write) use.Writers--;
            else use.Readers--;
            if (use.Readers <= 0 && use.Writers <= 0) _uses.Remove(reference);
            else _uses[reference] = use;
            if (reference < Entries) Mark(reference, use);
        }
    }

    private void Mark(uint reference, Use use)
    {
        var marks = (use.Readers > 0 || use.Writers > 0 ? Reading : 0) | (use.Writers > 0 ? Writing : 0);
        var word = _version == 1 ? (ushort*)Entry(reference) : (ushort*)_status[reference / (PageBytes / 2)] + (reference % (PageBytes / 2));
        *word = (ushort)((*word & ~(Reading | Writing)) | marks);
    }

    private static int StatusFramesFor(int frames) => ((frames * (PageBytes / EntryBytes2) * 2) + PageBytes - 1) / PageBytes;

    private bool TryGrowStatus(int frames)
    {
        while (_statusCount < frames)
        {
            if (!physmap.TryAllocateSpecial(out _status[_statusCount])) return false;
            _statusCount++;
        }

        return true;
    }

    private byte* Entry(uint reference)
    {
        var perPage = (uint)(PageBytes / EntryBytes);
        return (byte*)_frames[reference / perPage] + (reference % perPage * (uint)EntryBytes);
    }

    /// <summary>The domain that the table belongs to.</summary>
    public ushort Domain => domain;

    public void State(StateVisitor s)
    {
        s.I32("version", ref _version, 1, 2);
        s.I32("frames", ref _count, 0, MaxFrames);
        s.I32("status-frames", ref _statusCount, 0, MaxStatusFrames);
    }
}
