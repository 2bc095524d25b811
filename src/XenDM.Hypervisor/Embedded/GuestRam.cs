using System;
using System.IO;
using XenDM.Core.Memory;
using XenDM.Cpu.Decode;
using XenDM.Cpu.Mmu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded;

/// <summary>
/// The RAM of the embedded machine: one anonymous mapping, of which the kernel gives pages as they are touched. Below the PCI hole from 0 on
/// (without the VGA window), the rest from 4 GiB on.
/// </summary>
public sealed class GuestRam : IGuestMemory, IDisposable
{
    public const ulong FourGiB = 1ul << 32;

    /// <summary>First address of the PCI hole.</summary>
    public const ulong HoleStart = 0xe000_0000;
    private const ulong VgaStart = 0xa_0000, VgaEnd = 0xc_0000;

    private readonly nint _host;
    private readonly ulong _bytes;

    /// <summary>Set once, before the machine runs: decoded code that a device overwrites is dropped.</summary>
    public CodeCache? Code { get; set; }

    /// <param name="bytes">A multiple of 4 KiB, at least 2 MiB and at most 48 GiB.</param>
    /// <exception cref="IOException">The host has no room for it.</exception>
    public GuestRam(ulong bytes)
    {
        if (bytes < 2 << 20 || bytes > 48ul << 30 || bytes % PhysicalMap.PageSize != 0) throw new ArgumentOutOfRangeException(nameof(bytes));
        _bytes = bytes;
        Low = Math.Min(bytes, HoleStart);
        High = bytes - Low;
        var result = Posix.Map(0, (nuint)bytes, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Private | MapFlags.Anonymous | MapFlags.NoReserve, -1, 0, out _host);
        if (result < 0) throw new IOException($"no {bytes >> 20} MiB for the guest: {Errno.Describe(result)}");
        Map = new PhysicalMap(Math.Max(High > 0 ? FourGiB + High : 0, FourGiB) >> PhysicalMap.PageBits);
        ShowAll();
    }

    /// <summary>Bytes below the hole, and from 4 GiB on.</summary>
    public ulong Low { get; }

    /// <inheritdoc cref="Low"/>
    public ulong High { get; }

    public PhysicalMap Map { get; }

    private void MapRam(ulong gpa, ulong bytes, ulong offset, bool writable = true) =>
        Map.Map(gpa >> PhysicalMap.PageBits, bytes >> PhysicalMap.PageBits, _host + (nint)offset, writable);

    /// <summary>Shows all RAM at its own place.</summary>
    public void ShowAll()
    {
        MapRam(0, VgaStart, 0);
        MapRam(VgaEnd, Low - VgaEnd, VgaEnd);
        if (High > 0) MapRam(FourGiB, High, Low);
    }

    /// <summary>The host address is one of RAM.</summary>
    public bool Contains(nint host) => (nuint)(host - _host) < _bytes;

    /// <summary>The guest's address of a page of RAM that lies at its own place.</summary>
    public bool TryGetAddress(nint host, out ulong gpa)
    {
        gpa = (ulong)(host - _host);
        if (gpa >= _bytes) return false;
        if (gpa >= Low) gpa += FourGiB - Low;
        return true;
    }

    /// <summary>Shows RAM at its own place again, after something else was mapped there.</summary>
    /// <param name="gpa">Below the hole, as are all bytes.</param>
    public void Show(ulong gpa, ulong bytes, bool writable)
    {
        if (gpa > Low || bytes > Low - gpa) throw new ArgumentOutOfRangeException(nameof(gpa));
        MapRam(gpa, bytes, gpa, writable);
    }

    /// <summary>Copies RAM by its place in the host mapping, holes left out.</summary>
    public void CopyOut(ulong offset, Span<byte> destination)
    {
        if (offset > _bytes || (ulong)destination.Length > _bytes - offset) throw new ArgumentOutOfRangeException(nameof(offset));
        HostMemory.CopyFrom(_host + (nint)offset, destination);
    }

    /// <summary>Fills all of it with zeros, as power-on leaves it for our guests.</summary>
    public void Clear() => Posix.Advise(_host, (nuint)_bytes, MemoryAdvice.DontNeed);

    public bool TryRead(ulong gpa, Span<byte> destination)
    {
        var complete = true;
        while (!destination.IsEmpty)
        {
            var piece = destination[..(int)Math.Min((ulong)destination.Length, PhysicalMap.PageSize - (gpa & PhysicalMap.FlagBits))];
            var host = Find(gpa, out _);
            if (host == 0)
            {
                piece.Fill(0xff);
                complete = false;
            }
            else
            {
                HostMemory.CopyFrom(host, piece);
            }

            gpa += (ulong)piece.Length;
            destination = destination[piece.Length..];
        }

        return complete;
    }

    public bool TryWrite(ulong gpa, ReadOnlySpan<byte> source)
    {
        var complete = true;
        while (!source.IsEmpty)
        {
            var piece = source[..(int)Math.Min((ulong)source.Length, PhysicalMap.PageSize - (gpa & PhysicalMap.FlagBits))];
            var host = Find(gpa, out var writable);
            if (host == 0 || !writable)
            {
                complete = false;
            }
            else
            {
                HostMemory.CopyTo(piece, host);
                Code?.Written(gpa, piece.Length);
                Map.NoteWrite(gpa, piece.Length);
            }

            gpa += (ulong)piece.Length;
            source = source[piece.Length..];
        }

        return complete;
    }

    public bool TryPin(ulong gpa, int length, bool forWrite, out MemoryPin pin)
    {
        pin = default;
        var host = Find(gpa, out var writable);
        if (host == 0 || (forWrite && !writable)) return false;
        // Pages of one stretch of RAM lie side by side.
        var bytes = (int)Math.Min((ulong)length, PhysicalMap.PageSize - (gpa & PhysicalMap.FlagBits));
        while (bytes < length)
        {
            var next = Find(gpa + (ulong)bytes, out writable);
            if (next != host + bytes || (forWrite && !writable)) break;
            bytes += (int)Math.Min((ulong)(length - bytes), PhysicalMap.PageSize);
        }

        pin = new MemoryPin { Address = host, Length = bytes, GuestAddress = gpa };
        return true;
    }

    public void Unpin(in MemoryPin pin, bool written)
    {
        if (!written) return;
        Code?.Written(pin.GuestAddress, pin.Length);
        Map.NoteWrite(pin.GuestAddress, pin.Length);
    }

    private unsafe nint Find(ulong gpa, out bool writable) => (nint)Map.Find(gpa, out writable);

    public void Dispose()
    {
        Map.Dispose();
        Posix.Unmap(_host, (nuint)_bytes);
    }
}
