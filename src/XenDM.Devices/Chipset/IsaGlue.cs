using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// Small ports of the ISA board: system control port A (0x92: fast A20 and fast reset) and the coprocessor's busy latch and reset (0xf0,
/// 0xf1). Specification: IBM PS/2 Hardware Interface Technical Reference, system control port A; Intel 290550-002, section 2.5.5.
/// Deviations: the hypervisor's A20 is always open, so the bit is only kept. Floating-point errors are exceptions, not IRQ 13, so writes to
/// 0xf0 and 0xf1 have nothing to clear.
/// </summary>
public sealed class IsaGlue : IDevice
{
    private const ushort ControlPort = 0x92;
    private const ushort CoprocessorPort = 0xf0;
    private const byte FastReset = 0x01;
    private const byte FastA20 = 0x02;

    private static readonly RegisterTable<IsaGlue> s_control = new RegisterTable<IsaGlue>("system control port A", 1)
        .Byte(0, "PORT92", static c => ref c._control, reset: FastA20, write: static (c, v) => c.WriteControl((byte)v))
        .Build();

    private static readonly RegisterTable<IsaGlue> s_coprocessor = new RegisterTable<IsaGlue>("coprocessor", 2)
        .Reserved(0, 2, fill: 0xff)
        .Build();

    private readonly IMachineControl _machine;
    private byte _control;

    public IsaGlue(IMachineControl machine) => _machine = machine;

    public string Id => "isa-glue";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("port 92", ControlPort, 1, new TableRegion<IsaGlue>(s_control, this));
        ports.Map("coprocessor", CoprocessorPort, 2, new TableRegion<IsaGlue>(s_coprocessor, this));
    }

    /// <summary>Fast reset acts when its bit goes from 0 to 1.</summary>
    private void WriteControl(byte value)
    {
        var rises = (value & ~_control & FastReset) != 0;
        _control = value;
        if (rises) _machine.RequestReset("system control port A");
    }

    public void Reset(ResetKind kind) => s_control.Reset(this);

    public void State(StateVisitor s) => s.Registers(s_control, this);
}
