using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.State;
using XenDM.Core.Tracing;

namespace XenDM.Devices.Storage.Ide;

/// <summary>
/// The IDE function of the PIIX3: 8086:7010, class 0101 programming interface 80, function 1 of the south bridge. Two channels at the legacy
/// ports 1f0-1f7/3f6 (IRQ 14) and 170-177/376 (IRQ 15), BAR4 with 16 ports of bus master. Data sheet: Intel 82371FB/82371SB, section 2.3 and
/// 2.5.
/// Deviations: the channels answer also while IDETIM does not enable their decoding, because SeaBIOS on Xen relies on the state that hvmloader
/// left; timing registers are kept and mean nothing.
/// </summary>
public sealed class Piix3Ide : PciFunction, IIoRegion
{
    private const int IdetimPrimary = 0x40;
    private const int BusMasterBar = 4;
    private const uint BusMasterPorts = 16;
    private const ushort PrimaryPort = 0x1f0;
    private const ushort PrimaryControl = 0x3f6;
    private const ushort SecondaryPort = 0x170;
    private const ushort SecondaryControl = 0x376;
    private const int CommandPorts = 8;

    [Glue("disks that came back with a new machine are as they were")]
    private readonly List<(IdeChannel Channel, AtaDisk Disk)> _unplugged = [];
    private readonly IdeChannel[] _channels;
    private readonly IMachineEvents _events;
    private readonly IMachineLog _log;

    /// <param name="primary">ISA interrupt 14.</param>
    /// <param name="secondary">ISA interrupt 15.</param>
    public Piix3Ide(string id, IGuestMemory ram, IrqLine primary, IrqLine secondary, IMachineEvents events, IMachineLog log)
        : base(id, 0x8086, 0x7010, 0x010180, 0, ram)
    {
        _events = events;
        _log = log;
        _channels = [new IdeChannel("primary", primary, Dma), new IdeChannel("secondary", secondary, Dma)];
        SetDefault16(PciConstants.Status, 0x0280);

        // Memory space is there to be switched on and off, with nothing behind it: drivers switch on both and look whether the bits stay.
        SetWritable16(PciConstants.Command, PciConstants.CommandIo | PciConstants.CommandMemory | PciConstants.CommandMaster);
        SetWritable8(PciConstants.InterruptLine, 0);
        SetWritable32(IdetimPrimary, uint.MaxValue);
        SetWritable8(0x44, 0xff);
        AddBar(BusMasterBar, BarKind.Io, BusMasterPorts, this, "bus master");
    }

    /// <summary>Puts a disk on a channel, before the first reset.</summary>
    /// <param name="channel">0 or 1.</param>
    /// <param name="unit">0 master, 1 slave.</param>
    /// <param name="driveId">Name in events.</param>
    /// <param name="serial">Up to 20 ASCII characters; the same on every start, so that guests find their disk again.</param>
    /// <param name="writeCache">The write cache is on after reset; off: every write is on stable storage when it completes.</param>
    /// <param name="model">Up to 40 ASCII characters.</param>
    /// <param name="revision">Of the drive's firmware, up to 8 ASCII characters.</param>
    public void AttachDisk(int channel, int unit, string driveId, IBlockBackend image, string serial, bool writeCache, string model = "XenDM HARDDISK", string revision = "1.0") =>
        _channels[channel].Attach(new AtaDisk(_channels[channel], unit, driveId, image, serial, writeCache, _events, model, revision));

    /// <summary>Aborts a disk's commands while its data belongs to somebody else. The first one is logged.</summary>
    /// <param name="isTaken">Asked at every command that moves data.</param>
    public void Guard(int channel, int unit, Func<bool> isTaken)
    {
        if (_channels[channel].Drive(unit) is not AtaDisk disk) return;
        var isTold = false;
        disk.IsTaken = () =>
        {
            if (!isTaken()) return false;
            if (!isTold) _log.Warn(Id, $"disk {disk.DriveId} is refused to the guest, whose PV drivers use it");
            isTold = true;
            return true;
        };
    }

    /// <summary>Puts a CD drive on a channel, before the first reset.</summary>
    /// <param name="medium">The disc, or null.</param>
    /// <returns>Where media are changed.</returns>
    public IMediumListener AttachCdrom(int channel, int unit, string driveId, string deviceId, IBlockBackend? medium, string serial)
    {
        var drive = new AtapiCdrom(_channels[channel], unit, driveId, deviceId, medium, serial, _events);
        _channels[channel].Attach(drive);
        return drive;
    }

    /// <summary>Names of the drives that the guest has now.</summary>
    public IEnumerable<string> Drives
    {
        get
        {
            foreach (var channel in _channels)
                for (var unit = 0; unit < 2; unit++)
                    if (channel.Drive(unit) is { } drive) yield return drive is AtaDisk disk ? disk.DriveId : ((AtapiCdrom)drive).DriveId;
        }
    }

    /// <summary>
    /// PV drivers take over: disks vanish after their writes are on stable storage, CD drives stay, and the channels are reset.
    /// </summary>
    /// <param name="auxiliaryOnly">All but the primary master.</param>
    /// <param name="isKept">Disks, by drive id, that stay; null for none.</param>
    public void UnplugDisks(bool auxiliaryOnly, Predicate<string>? isKept = null)
    {
        for (var number = 0; number < 2; number++)
        {
            var channel = _channels[number];
            var any = false;
            for (var unit = 0; unit < 2; unit++)
            {
                if (channel.Drive(unit) is not AtaDisk disk || (auxiliaryOnly && number == 0 && unit == 0)) continue;
                if (isKept?.Invoke(disk.DriveId) ?? false) continue;
                disk.Quiesce();
                channel.Detach(unit);
                _unplugged.Add((channel, disk));
                _log.Info(Id, $"disk {disk.DriveId} unplugged");
                any = true;
            }

            if (any) channel.Reset();
        }
    }

    /// <summary>Puts back what was unplugged, for a machine that starts anew in the same process.</summary>
    public void Replug()
    {
        foreach (var (channel, disk) in _unplugged) channel.Attach(disk);
        _unplugged.Clear();
    }

    public ulong Read(ulong offset, int size)
    {
        // The two halves are tables of their own; an access across the border is split.
        ulong value = 0;
        for (var i = 0; i < size;)
        {
            var at = offset + (ulong)i;
            var bytes = Math.Min(size - i, 8 - (int)(at & 7));
            value |= (_channels[(at >> 3) & 1].BusMaster.Read(at & 7, bytes) & AddressSpace.Mask(bytes)) << (8 * i);
            i += bytes;
        }

        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        for (var i = 0; i < size;)
        {
            var at = offset + (ulong)i;
            var bytes = Math.Min(size - i, 8 - (int)(at & 7));
            _channels[(at >> 3) & 1].BusMaster.Write(at & 7, bytes, (value >> (8 * i)) & AddressSpace.Mask(bytes));
            i += bytes;
        }
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        foreach (var channel in _channels) channel.Reset();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Child("primary", _channels[0]);
        s.Child("secondary", _channels[1]);
    }

    protected override void OnAttached()
    {
        Bus!.Ports.Map($"{Id} primary", PrimaryPort, CommandPorts, _channels[0]);
        Bus.Ports.Map($"{Id} primary control", PrimaryControl, 1, _channels[0].Control);
        Bus.Ports.Map($"{Id} secondary", SecondaryPort, CommandPorts, _channels[1]);
        Bus.Ports.Map($"{Id} secondary control", SecondaryControl, 1, _channels[1].Control);
    }
}
