using System;
using System.Runtime.InteropServices;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Network;

/// <summary>
/// The PHY in the 82540EM, a Marvell 88E1011: registers of IEEE 802.3 clauses 22 and 40, and Marvell's from 16 on. Data sheet: Intel 317453,
/// section 13.4.3 and chapter 12. Deviations: the partner at the other end offers everything up to 1000 Mb/s full duplex, and that is what
/// negotiation finds; a speed that is forced is stored, and frames go as fast as ever.
/// </summary>
internal sealed class E1000Phy : IStateful
{
    private const int Registers = 32;
    private const int Bmcr = 0;
    private const int Bmsr = 1;
    private const int Id1 = 2;
    private const int Id2 = 3;
    private const int Anar = 4;
    private const int Anlpar = 5;
    private const int Aner = 6;
    private const int Ctrl1000 = 9;
    private const int Stat1000 = 10;
    private const int ExtendedStatus = 15;
    private const int SpecificControl = 16;
    private const int SpecificStatus = 17;
    private const int InterruptStatus = 19;

    private const ushort BmcrReset = 1 << 15;
    private const ushort BmcrLoopback = 1 << 14;
    private const ushort BmcrNegotiate = 1 << 12;
    private const ushort BmcrPowerDown = 1 << 11;
    private const ushort BmcrRestart = 1 << 9;

    /// <summary>10 and 100 Mb/s, extended status, management frames without preamble, can negotiate, extended registers.</summary>
    private const ushort BmsrFixed = 0x7949;
    private const ushort BmsrNegotiated = 1 << 5;
    private const ushort BmsrLink = 1 << 2;
    private const ushort SpecificFixed = 0xa800;
    private const ushort SpecificLink = 1 << 10;
    private const ushort SpecificLinkChanged = 1 << 10;

    /// <summary>Nanoseconds from a restart of negotiation to its end; seconds on a cable.</summary>
    private const long NegotiationTime = 1_000_000;

    private readonly E1000 _chip;
    private readonly VmTimer _negotiation;

    /// <summary>Not saved: after a restore it tells the guest of another cable.</summary>
    private readonly VmTimer _check;
    private readonly ushort[] _registers = new ushort[Registers];
    private bool _link;

    /// <summary>BMSR shows a lost link until it is read.</summary>
    private bool _wasDown;

    public E1000Phy(E1000 chip, IVmClock clock)
    {
        _chip = chip;
        _negotiation = clock.CreateTimer(chip.Id + ".autoneg", Refresh);
        _check = clock.CreateTimer(chip.Id + ".link", Refresh);
    }

    public bool IsLinkUp => _link;

    private bool CanBeUp => _chip.IsCableIn && (_registers[Bmcr] & BmcrPowerDown) == 0;

    public bool IsLooped => (_registers[Bmcr] & BmcrLoopback) != 0;

    public ushort Read(int register)
    {
        switch (register)
        {
            case Bmsr:
                var status = BmsrFixed | (_link ? BmsrNegotiated : 0) | (_link && !_wasDown ? BmsrLink : 0);
                _wasDown = !_link;
                return (ushort)status;
            case Id1: return 0x0141;
            case Id2: return 0x0c20;
            case Anlpar: return (ushort)(_link ? 0x45e1 : 0);
            case Aner: return (ushort)(_link ? 3 : 0);
            case Stat1000: return (ushort)(_link ? 0x3c00 : 0);
            case ExtendedStatus: return 0x3000;
            case SpecificStatus: return (ushort)(_link ? SpecificFixed | SpecificLink : 0);
            case InterruptStatus:
                var causes = _registers[InterruptStatus];
                _registers[InterruptStatus] = 0;
                return causes;
            default: return _registers[register];
        }
    }

    public void Write(int register, ushort value)
    {
        if (register is Bmsr or Id1 or Id2 or Anlpar or Aner or Stat1000 or ExtendedStatus or SpecificStatus or InterruptStatus) return;
        if (register != Bmcr)
        {
            _registers[register] = value;
            return;
        }

        if ((value & BmcrReset) != 0)
        {
            Reset();
            return;
        }

        _registers[Bmcr] = (ushort)(value & ~BmcrRestart);
        if ((value & BmcrNegotiate) != 0 && (value & BmcrRestart) != 0) Renegotiate();
        else Refresh();
    }

    /// <summary>The registers as after a reset; what was negotiated is negotiated again.</summary>
    public void Reset()
    {
        SetDefaults();
        Renegotiate();
    }

    /// <summary>The board was switched on long ago, as firmware sees it.</summary>
    public void PowerOn()
    {
        SetDefaults();
        _link = _chip.IsCableIn;
        _wasDown = !_link;
    }

    /// <summary>The cable, or what the registers say about it, changed.</summary>
    public void Refresh()
    {
        var up = CanBeUp && !_negotiation.IsArmed;
        if (up == _link) return;
        _link = up;
        _wasDown |= !up;
        _registers[InterruptStatus] |= SpecificLinkChanged;
        _chip.Raise(E1000.IcrLink);
    }

    public void Restored() => _check.ArmAfter(0);

    public void Stop() => _negotiation.Cancel();

    private void Renegotiate()
    {
        _negotiation.ArmAfter(NegotiationTime);
        Refresh();
    }

    private void SetDefaults()
    {
        _registers.AsSpan().Clear();
        _registers[Bmcr] = BmcrNegotiate | 0x0140;
        _registers[Anar] = 0x0de1;
        _registers[Ctrl1000] = 0x0300;
        _registers[SpecificControl] = 0x0360;
    }

    public void State(StateVisitor s)
    {
        s.Bytes("registers", MemoryMarshal.AsBytes(_registers.AsSpan()));
        s.Bool("link", ref _link);
        s.Bool("was-down", ref _wasDown);
        s.Timer(_negotiation);
    }
}
