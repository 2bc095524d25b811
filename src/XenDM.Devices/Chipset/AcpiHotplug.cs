using System;
using System.Numerics;
using XenDM.Core.Io;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// The hot-plug registers that the ACPI tables of Xen's hvmloader read: PCI slots of bus 0 at 0xae00 (UP, DOWN, EJ, RMV; a bit a slot) and
/// the bitmap of online CPUs at 0xaf00 (a bit a vCPU). Events: GPE bit 1 for PCI, bit 2 for CPUs. No data sheet: the tables are the
/// specification (xen/tools/libacpi, methods _E01, _E02, PRSC).
/// Deviations: bus select and ACPI index (0xae10, 0xae14), which Xen's tables do not use, are not there.
/// </summary>
public sealed class AcpiHotplug : IDevice
{
    /// <summary>vCPUs that the bitmap has bits for.</summary>
    public const int MaxCpus = 128;
    private const ushort PciPort = 0xae00;
    private const ushort CpuPort = 0xaf00;
    private const int CpuPorts = 32;
    private const int PciGpe = 1;
    private const int CpuGpe = 2;

    private static readonly RegisterTable<AcpiHotplug> s_pci = new RegisterTable<AcpiHotplug>("PCI hot-plug", 16)
        .Dword(0x0, "PCI_UP", static c => ref c._up, mask: 0)
        .Dword(0x4, "PCI_DOWN", static c => ref c._down, mask: 0)
        .Computed(0x8, 4, "PCI_EJ", read: static _ => 0, write: static (c, v) => c.Eject(v))
        .Computed(0xc, 4, "PCI_RMV", read: static c => c._removable)
        .Build();

    private readonly Action<int> _raiseGpe;
    private readonly Action<int> _eject;
    private readonly byte[] _online = new byte[MaxCpus / 8];
    private uint _up;
    private uint _down;
    private uint _removable;

    /// <param name="raiseGpe">Latches a general purpose event: <see cref="Piix4Pm.RaiseGpe"/>.</param>
    /// <param name="eject">The guest let go of the device in this slot (0 to 31): the board takes it off the bus.</param>
    /// <param name="onlineCpus">vCPUs that are there at power-on, from 0 on.</param>
    public AcpiHotplug(Action<int> raiseGpe, Action<int> eject, int onlineCpus)
    {
        _raiseGpe = raiseGpe;
        _eject = eject;
        for (var cpu = 0; cpu < Math.Min(onlineCpus, MaxCpus); cpu++) _online[cpu >> 3] |= (byte)(1 << (cpu & 7));
    }

    public string Id => "acpi-hotplug";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("acpi-hotplug PCI", PciPort, (ulong)s_pci.Size, new TableRegion<AcpiHotplug>(s_pci, this));
        ports.Map("acpi-hotplug CPU", CpuPort, CpuPorts, new CpuBitmap(this));
    }

    /// <summary>A slot whose device may be taken out while the guest runs.</summary>
    public void SetRemovable(int slot, bool removable) => _removable = removable ? _removable | Bit(slot) : _removable & ~Bit(slot);

    /// <summary>A device was put into a slot: the guest is told to look.</summary>
    public void DeviceAdded(int slot)
    {
        _up |= Bit(slot);
        SetRemovable(slot, true);
        _raiseGpe(PciGpe);
    }

    /// <summary>Asks the guest to let go of a slot. It answers by an eject, or never.</summary>
    public void RemoveRequested(int slot)
    {
        _down |= Bit(slot);
        _raiseGpe(PciGpe);
    }

    /// <summary>The guest was asked for this slot and has not let go yet.</summary>
    public bool IsRemovalPending(int slot) => (_down & Bit(slot)) != 0;

    /// <summary>Sets a vCPU online and tells the guest.</summary>
    /// <returns>False when the vCPU is online already, or there is no such vCPU.</returns>
    public bool OnlineCpu(int cpu)
    {
        if ((uint)cpu >= MaxCpus || IsOnline(cpu)) return false;
        _online[cpu >> 3] |= (byte)(1 << (cpu & 7));
        _raiseGpe(CpuGpe);
        return true;
    }

    public bool IsOnline(int cpu) => (uint)cpu < MaxCpus && (_online[cpu >> 3] & (1 << (cpu & 7))) != 0;

    /// <summary>Only the lowest bit counts: one eject a write.</summary>
    private void Eject(uint value)
    {
        if (value == 0) return;
        var slot = BitOperations.TrailingZeroCount(value);
        Forget(slot);
        _eject(slot);
    }

    private void Forget(int slot)
    {
        _up &= ~Bit(slot);
        _down &= ~Bit(slot);
        _removable &= ~Bit(slot);
    }

    private static uint Bit(int slot) => 1u << (slot & 31);

    private sealed class CpuBitmap(AcpiHotplug chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size; i++)
            {
                var at = offset + (ulong)i;
                if (at < (ulong)chip._online.Length) value |= (ulong)chip._online[(int)at] << (8 * i);
            }

            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }

    /// <summary>A reset carries out the removals that the guest was asked for. The CPUs stay as they are.</summary>
    public void Reset(ResetKind kind)
    {
        var pending = _down;
        s_pci.Reset(this);
        for (; pending != 0; pending &= pending - 1)
        {
            var slot = BitOperations.TrailingZeroCount(pending);
            Forget(slot);
            _eject(slot);
        }
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_pci, this);
        s.U32("PCI_RMV", ref _removable);
        s.Bytes("online", _online);
    }
}
