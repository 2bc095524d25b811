using System;
using XenDM.Core.Io;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// The battery-backed RAM behind the RTC: 128 cells by the index port 0x70 and the data port 0x71 (MC146818A data sheet, "Address map").
/// Deviations: cells 0 to 13, the clock itself, are answered by whoever emulates the RTC (Xen keeps them; only accesses to higher indices
/// come here), so they are plain cells. Bit 7 of the index, the NMI mask, is not kept.
/// Cells that firmware reads: 0x10 floppy types, 0x14 equipment, 0x38 and 0x3d boot order; hvmloader itself writes the memory sizes.
/// </summary>
public sealed class CmosRam : IDevice
{
    private const ushort IndexPort = 0x70;
    private const int Cells = 128;
    private const int Equipment = 0x14;
    private const int BootOrderThird = 0x38;
    private const int BootOrder = 0x3d;

    /// <summary>Equipment: a coprocessor (bit 1) and a PS/2 mouse (bit 2).</summary>
    private const byte EquipmentFpuMouse = 0x06;

    private static readonly RegisterTable<CmosRam> s_ports = new RegisterTable<CmosRam>("CMOS", 2)
        .Byte(0, "INDEX", static c => ref c._index, mask: Cells - 1, read: static _ => 0xff)
        .Computed(1, 1, "DATA", read: static c => c._cells[c._index & (Cells - 1)], write: static (c, v) => c._cells[c._index & (Cells - 1)] = (byte)v)
        .Build();

    private readonly string _bootOrder;
    private readonly byte[] _cells = new byte[Cells];
    private byte _index;

    /// <param name="bootOrder">Up to three of a (floppy), c (disk), d (CD), n (network); the first is tried first.</param>
    /// <exception cref="ArgumentException">Another letter, or more than three.</exception>
    public CmosRam(string bootOrder)
    {
        if (bootOrder.Length > 3) throw new ArgumentException($"'{bootOrder}' names more than three boot devices");
        foreach (var letter in bootOrder)
            if (!"acdn".Contains(letter, StringComparison.Ordinal)) throw new ArgumentException($"'{letter}' is no boot device: a floppy, c disk, d CD, n network");
        _bootOrder = bootOrder;
    }

    public string Id => "cmos";

    public void MapPorts(AddressSpace ports) => ports.Map("cmos", IndexPort, (ulong)s_ports.Size, new TableRegion<CmosRam>(s_ports, this));

    /// <summary>The cells survive a reset of the guest, as a battery lets them; power on sets them up anew.</summary>
    public void Reset(ResetKind kind)
    {
        s_ports.Reset(this);
        if (kind != ResetKind.Cold) return;
        Array.Clear(_cells);
        _cells[Equipment] = EquipmentFpuMouse;
        _cells[BootOrder] = (byte)(BootDevice(0) | (BootDevice(1) << 4));
        _cells[BootOrderThird] = (byte)(BootDevice(2) << 4);
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_ports, this);
        s.Bytes("cells", _cells);
    }

    /// <summary>0 none, 1 floppy, 2 disk, 3 CD, 4 network: the numbers of SeaBIOS.</summary>
    private int BootDevice(int place) => place >= _bootOrder.Length ? 0 : _bootOrder[place] switch { 'a' => 1, 'c' => 2, 'd' => 3, _ => 4 };
}
