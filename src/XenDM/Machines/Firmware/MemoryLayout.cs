using System;
using System.Collections.Generic;

namespace XenDM.Machines.Firmware;

/// <summary>RAM of a PC: from 0 up to where the PCI devices begin, and the rest from 4 GiB on.</summary>
/// <param name="Low">Bytes below 4 GiB; also the first address behind them.</param>
/// <param name="High">Bytes from 4 GiB on.</param>
internal readonly record struct MemoryLayout(uint Low, ulong High)
{
    /// <summary>SeaBIOS puts PCI devices at 0x80000000, 0xc0000000 or 0xe0000000, whichever is the first behind the RAM; so there may be this much of it.</summary>
    public const uint SeaBiosLowLimit = 0xe000_0000;

    public const ulong FourGiB = 1ul << 32;

    public ulong Total => Low + High;

    /// <param name="bytes">All RAM.</param>
    /// <param name="lowLimit">Most that may lie below 4 GiB.</param>
    public static MemoryLayout Split(ulong bytes, uint lowLimit = SeaBiosLowLimit)
    {
        var low = (uint)Math.Min(bytes, lowLimit);
        return new MemoryLayout(low, bytes - low);
    }

    /// <summary>
    /// CMOS cells in which a PC's firmware finds the memory sizes, beside the table that newer firmware reads: KiB from 1 MiB to 64 MiB, 64 KiB
    /// pieces from 16 MiB, 64 KiB pieces from 4 GiB, and 640 KiB of base memory.
    /// </summary>
    public IEnumerable<(byte Cell, byte Value)> CmosCells()
    {
        const uint mib = 1 << 20;
        const ushort baseKib = 640;
        var extendedKib = (uint)Math.Clamp((long)Low - mib, 0, 0xffff << 10) >> 10;
        var above16 = (uint)Math.Clamp((long)Low - (16 * mib), 0, (long)0xffff << 16) >> 16;
        var above4G = Math.Min(High, 0xff_ffffUL << 16) >> 16;
        yield return (0x15, unchecked((byte)baseKib));
        yield return (0x16, (byte)(baseKib >> 8));
        yield return (0x17, (byte)extendedKib);
        yield return (0x18, (byte)(extendedKib >> 8));
        yield return (0x30, (byte)extendedKib);
        yield return (0x31, (byte)(extendedKib >> 8));
        yield return (0x34, (byte)above16);
        yield return (0x35, (byte)(above16 >> 8));
        yield return (0x5b, (byte)above4G);
        yield return (0x5c, (byte)(above4G >> 8));
        yield return (0x5d, (byte)(above4G >> 16));
    }
}
