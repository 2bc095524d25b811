using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Irq;

namespace XenDM.Core.Pci;

/// <summary>
/// PCI bus 0: 32 devices of 8 functions. As a region its offset is bus/device/function in 31:16 and the register in 15:0; what is not there
/// reads all ones.
/// </summary>
public sealed class PciBus : IIoRegion, IIrqSink
{
    private readonly PciFunction?[] _functions = new PciFunction?[256];
    private readonly IHypervisor _hypervisor;

    public PciBus(AddressSpace ports, AddressSpace memory, IHypervisor hypervisor)
    {
        Ports = ports;
        Memory = memory;
        _hypervisor = hypervisor;
    }

    public AddressSpace Ports { get; }

    public AddressSpace Memory { get; }

    public IHypervisor Hypervisor => _hypervisor;

    /// <summary>All functions, ascending.</summary>
    public IEnumerable<PciFunction> Functions
    {
        get
        {
            foreach (var function in _functions)
                if (function is not null) yield return function;
        }
    }

    public PciFunction? Find(int device, int function) => (uint)device < 32 && (uint)function < 8 ? _functions[(device << 3) | function] : null;

    /// <summary>The first device number without functions, or -1 when the bus is full.</summary>
    public int FirstFreeDevice()
    {
        for (var device = 0; device < 32; device++)
        {
            var free = true;
            for (var function = 0; function < 8; function++) free &= _functions[(device << 3) | function] is null;
            if (free) return device;
        }

        return -1;
    }

    /// <summary>Puts a function on the bus and makes it visible.</summary>
    /// <exception cref="InvalidOperationException">The place is taken.</exception>
    public void Add(PciFunction item, int device, int function = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)device, 31u);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)function, 7u);
        var place = (device << 3) | function;
        if (_functions[place] is { } other) throw new InvalidOperationException($"PCI 00:{device:x2}.{function} is taken by {other.Id}");
        _functions[place] = item;
        item.Attached(this, device, function, new IrqLine(this, place));
        _hypervisor.PciFunctionAdded(0, device, function);
    }

    /// <summary>Takes a function off the bus: its BARs vanish, its interrupt falls, its configuration reads ff.</summary>
    public void Remove(PciFunction item)
    {
        var place = (item.Device << 3) | item.Function;
        if (_functions[place] != item) return;
        item.Detached();
        _functions[place] = null;
        _hypervisor.PciFunctionRemoved(0, item.Device, item.Function);
    }

    public ulong Read(ulong offset, int size)
    {
        var register = (int)(offset & 0xffff);
        if (offset >> 24 != 0 || _functions[(offset >> 16) & 0xff] is not { } function || register + size > PciFunction.ConfigBytes) return AddressSpace.Mask(size);
        return function.ReadConfig(register, size);
    }

    public void Write(ulong offset, int size, ulong value)
    {
        var register = (int)(offset & 0xffff);
        if (offset >> 24 != 0 || _functions[(offset >> 16) & 0xff] is not { } function || register + size > PciFunction.ConfigBytes) return;
        function.WriteConfig(register, size, (uint)value);
    }

    /// <summary>An INTx wire changed; the input is device/function.</summary>
    public void SetLevel(int input, bool level)
    {
        if (_functions[input] is not { } function) return;
        var pin = function.InterruptPin;
        if (pin == 0) return;

        // Functions of one device may share a pin (wired OR).
        var any = level;
        for (var i = input & ~7; i <= (input | 7) && !any; i++) any = i != input && _functions[i] is { } other && other.InterruptPin == pin && other.IntxAsserted;
        _hypervisor.SetPciIntx(input >> 3, pin - 1, any);
    }
}
