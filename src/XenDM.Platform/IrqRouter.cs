using System;
using System.Collections.Generic;
using System.Numerics;
using XenDM.Core.Irq;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// The wiring between interrupt sources and controllers that Xen gives an HVM guest. ISA interrupt n is input n of the 8259 pair and of the
/// IOAPIC, except that IRQ 0 is input 2 there; input 0 of the IOAPIC is INTR of the pair. Pin p of PCI device d is IOAPIC input
/// ((4d + d/8 + p) mod 32) + 16, and link (d + p) mod 4, which is routed to an ISA interrupt. Sources that share an input are wired OR: each
/// input counts who asserts it. Levels are logical (high means asserted).
/// Deviation: ISA interrupt 2 is the cascade and cannot be driven.
/// </summary>
public sealed class IrqRouter : IDevice, IIrqSink
{
    private const int IsaIrqs = 16;
    private const int Links = 4;
    private const int Devices = 32;
    private const int Pins = 4;
    private const int CascadeIrq = 2;
    private const int TimerGsi = 2;
    private const int MaxPlatformLines = 32;
    private const int FirstPciGsi = 16;
    private const int TimerIrq = 0;
    private const int ClockIrq = 8;

    [Glue("a chip of its own")]
    private readonly I8259Pic _pic;

    [Glue("a chip of its own")]
    private readonly IoApic _ioApic;
    private readonly ApicBus _bus;
    private readonly List<Source> _platform = [];
    private readonly ulong[] _intx = new ulong[2];
    private readonly byte[] _routes = new byte[Links];
    private ushort _isa;
    private uint _platformLevels;
    private bool _legacyReplaced;
    private byte _callback;

    [Glue("counted from the levels and the routes")]
    private readonly int[] _isaCounts = new int[IsaIrqs];

    [Glue("counted from the levels")]
    private readonly int[] _gsiCounts = new int[IoApic.Inputs];

    [Glue("counted from the levels")]
    private readonly int[] _linkCounts = new int[Links];

    private readonly record struct Source(int Input, bool IsHpet);

    public IrqRouter(I8259Pic pic, IoApic ioApic, ApicBus bus)
    {
        _pic = pic;
        _ioApic = ioApic;
        _bus = bus;
    }

    public string Id => "irq-router";

    public int StateVersion => 2;

    /// <summary>A wire for a chip of the platform, counted by itself. All are made at construction, always in the same order; at most 32.</summary>
    /// <param name="input">ISA interrupt 0 to 15, or global system interrupt 16 to 47.</param>
    /// <param name="isHpet">The wire is one of the HPET's; the others on IRQ 0 and 8 are cut while it replaces PIT and RTC.</param>
    public IrqLine PlatformLine(int input, bool isHpet = false)
    {
        if (_platform.Count == MaxPlatformLines) throw new InvalidOperationException("all platform lines are taken");
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)input, (uint)IoApic.Inputs - 1);
        _platform.Add(new Source(input, isHpet));
        return new IrqLine(this, _platform.Count - 1);
    }

    /// <inheritdoc cref="Core.Hypervisor.IHypervisor.SetIsaIrq"/>
    public void SetIsaIrq(int irq, bool level)
    {
        if ((uint)irq >= IsaIrqs) return;
        var bit = (ushort)(1 << irq);
        if ((_isa & bit) != 0 == level) return;
        _isa ^= bit;
        CountIsa(irq, level);
    }

    /// <inheritdoc cref="Core.Hypervisor.IHypervisor.SetPciIntx"/>
    public void SetPciIntx(int device, int pin, bool level)
    {
        if ((uint)device >= Devices || (uint)pin >= Pins) return;
        var index = (device * Pins) + pin;
        var bit = 1ul << index;
        ref var word = ref _intx[index >> 6];
        if ((word & bit) != 0 == level) return;
        word ^= bit;
        CountGsi(GsiOf(device, pin), level);
        var link = (device + pin) & 3;
        var was = _linkCounts[link] != 0;
        _linkCounts[link] += level ? 1 : -1;
        if (was != (_linkCounts[link] != 0) && _routes[link] != 0) CountIsa(_routes[link], level);
    }

    /// <inheritdoc cref="Core.Hypervisor.IHypervisor.SetPciLinkRoute"/>
    public void SetPciLinkRoute(int link, int irq)
    {
        if ((uint)link >= Links || (uint)irq >= IsaIrqs || _routes[link] == irq) return;
        var old = _routes[link];
        _routes[link] = (byte)irq;
        if (_linkCounts[link] == 0) return;
        if (old != 0) CountIsa(old, false);
        if (irq != 0) CountIsa(irq, true);
    }

    /// <summary>Xen's event callback by a global system interrupt: asserts an input as one more source of it, and drops the one before.</summary>
    /// <param name="gsi">1 to 47, or 0 for none.</param>
    public void SetCallbackGsi(int gsi)
    {
        if ((uint)gsi >= IoApic.Inputs || gsi == _callback) return;
        var old = _callback;
        _callback = (byte)gsi;
        if (old != 0) CountCallback(old, false);
        if (gsi != 0) CountCallback(gsi, true);
    }

    /// <summary>Input 2 of the IOAPIC is the timer's, which as an ISA interrupt is the cascade.</summary>
    private void CountCallback(int gsi, bool level)
    {
        if (gsi == CascadeIrq) CountGsi(gsi, level);
        else CountInput(gsi, level);
    }

    /// <inheritdoc cref="Core.Hypervisor.IHypervisor.InjectMsi"/>
    public void InjectMsi(ulong address, uint data) => _bus.DeliverMsi(address, data);

    /// <summary>The IOAPIC input of a PCI interrupt pin.</summary>
    /// <param name="device">0 to 31.</param>
    /// <param name="pin">0 to 3.</param>
    public static int GsiOf(int device, int pin) => (((device * Pins) + (device >> 3) + pin) & 31) + FirstPciGsi;

    /// <summary>HPET legacy replacement: the HPET drives IRQ 0 and 8 instead of PIT and RTC.</summary>
    public void SetLegacyReplacement(bool on)
    {
        if (on == _legacyReplaced) return;
        for (var i = 0; i < _platform.Count; i++)
            if (IsReplaceable(_platform[i]) && (_platformLevels & (1u << i)) != 0) CountInput(_platform[i].Input, !on);
        _legacyReplaced = on;
    }

    void IIrqSink.SetLevel(int input, bool level)
    {
        var bit = 1u << input;
        if ((_platformLevels & bit) != 0 == level) return;
        _platformLevels ^= bit;
        var line = _platform[input];
        if (!_legacyReplaced || !IsReplaceable(line)) CountInput(line.Input, level);
    }

    private static bool IsReplaceable(in Source line) => !line.IsHpet && line.Input is (TimerIrq or ClockIrq);

    private void CountInput(int input, bool level)
    {
        if (input < IsaIrqs) CountIsa(input, level);
        else CountGsi(input, level);
    }

    private void CountIsa(int irq, bool level)
    {
        if (irq == CascadeIrq) return;
        ref var count = ref _isaCounts[irq];
        var was = count != 0;
        count += level ? 1 : -1;
        if (was == (count != 0)) return;
        _pic.SetLevel(irq, level);
        CountGsi(irq == TimerIrq ? TimerGsi : irq, level);
    }

    private void CountGsi(int gsi, bool level)
    {
        ref var count = ref _gsiCounts[gsi];
        var was = count != 0;
        count += level ? 1 : -1;
        if (was != (count != 0)) _ioApic.SetLevel(gsi, level);
    }

    /// <summary>Levels are their sources'; the chipset sets the routes again.</summary>
    public void Reset(ResetKind kind)
    {
        for (var link = 0; link < Links; link++) SetPciLinkRoute(link, 0);
        SetLegacyReplacement(false);
    }

    public void State(StateVisitor s)
    {
        s.U16("isa", ref _isa);
        s.U64("intx0", ref _intx[0]);
        s.U64("intx1", ref _intx[1]);
        s.Bytes("routes", _routes);
        s.U32("platform", ref _platformLevels);
        s.Bool("legacy-replaced", ref _legacyReplaced);
        s.U8("callback", ref _callback, since: 2);
    }

    /// <summary>The controllers hold the levels of their inputs themselves, so the counts are made anew without driving anything.</summary>
    public void Restored()
    {
        Array.Clear(_isaCounts);
        Array.Clear(_gsiCounts);
        Array.Clear(_linkCounts);
        for (var irq = 0; irq < IsaIrqs; irq++)
            if ((_isa & (1 << irq)) != 0) _isaCounts[irq]++;
        for (var word = 0; word < 2; word++)
        {
            for (var rest = _intx[word]; rest != 0; rest &= rest - 1)
            {
                var index = (word * 64) + BitOperations.TrailingZeroCount(rest);
                _gsiCounts[GsiOf(index / Pins, index % Pins)]++;
                _linkCounts[((index / Pins) + (index % Pins)) & 3]++;
            }
        }

        for (var link = 0; link < Links; link++)
        {
            _routes[link] &= 15;
            if (_linkCounts[link] != 0 && _routes[link] != 0) _isaCounts[_routes[link]]++;
        }

        for (var i = 0; i < _platform.Count; i++)
        {
            if ((_platformLevels & (1u << i)) == 0 || (_legacyReplaced && IsReplaceable(_platform[i]))) continue;
            if (_platform[i].Input < IsaIrqs) _isaCounts[_platform[i].Input]++;
            else _gsiCounts[_platform[i].Input]++;
        }

        _isaCounts[CascadeIrq] = 0;
        if (_callback < IsaIrqs) _isaCounts[_callback] += _callback is 0 or CascadeIrq ? 0 : 1;
        for (var irq = 0; irq < IsaIrqs; irq++)
            if (_isaCounts[irq] != 0) _gsiCounts[irq == TimerIrq ? TimerGsi : irq]++;
        if (_callback is CascadeIrq or >= IsaIrqs) _gsiCounts[_callback % IoApic.Inputs]++;
    }
}
