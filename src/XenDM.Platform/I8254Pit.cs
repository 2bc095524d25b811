using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// Intel 8254 interval timer at 0x40 to 0x43 with its three counters, and the system's port 0x61: gate of counter 2, speaker, the refresh
/// toggle and OUT of counter 2. OUT of counter 0 is IRQ 0. Data sheets: Intel 231164-005; 290550-002, section 2.5.4.
/// Deviations: between two rises in modes 2 and 3 the interrupt line stays up, its low phase is only seen by a read of the status, as the
/// interrupt is an edge. Periods that passed while nobody could run are not made up for. Counter 1 drives nothing: the refresh bit of port
/// 0x61 toggles every 18 ticks whatever counter 1 is set to. The parity and channel check bits of port 0x61 hold what is written.
/// </summary>
public sealed class I8254Pit : IDevice
{
    private const ushort CounterPort = 0x40;
    private const ushort SpeakerPort = 0x61;
    private const int Channels = 3;
    private const int RefreshTicks = 18;
    private const byte PortGate = 0x01;
    private const byte PortSpeaker = 0x02;
    private const byte PortRefresh = 0x10;
    private const byte PortOut = 0x20;
    private const byte PortWritable = 0x0f;
    private const byte ReadBackNoCount = 0x20;
    private const byte ReadBackNoStatus = 0x10;

    private static readonly Frequency s_crystal = new(1193182);

    private static readonly RegisterTable<I8254Pit> s_counters = new RegisterTable<I8254Pit>("8254", 4)
        .Computed(0, 1, "COUNTER0", read: static p => p.ReadCounter(0), write: static (p, v) => p.WriteCounter(0, (byte)v))
        .Computed(1, 1, "COUNTER1", read: static p => p.ReadCounter(1), write: static (p, v) => p.WriteCounter(1, (byte)v))
        .Computed(2, 1, "COUNTER2", read: static p => p.ReadCounter(2), write: static (p, v) => p.WriteCounter(2, (byte)v))
        .Computed(3, 1, "CONTROL", read: static _ => 0xff, write: static (p, v) => p.WriteControl((byte)v))
        .Build();

    private static readonly RegisterTable<I8254Pit> s_port61 = new RegisterTable<I8254Pit>("port 61", 1)
        .Byte(0, "PORT61", static p => ref p._port61, read: static p => p.ReadPort61(), write: static (p, v) => p.WritePort61((byte)v))
        .Build();

    private readonly IrqLine _irq;
    private readonly IVmClock _clock;
    private readonly VmTimer _rise;
    private readonly PitChannel[] _channels = [new(gate: true), new(gate: true), new(gate: false)];
    private byte _port61;

    /// <param name="irq">OUT of counter 0.</param>
    public I8254Pit(IrqLine irq, IVmClock clock)
    {
        _irq = irq;
        _clock = clock;
        _rise = clock.CreateTimer("pit.rise", OutRises);
        Reset(ResetKind.Cold);
    }

    public string Id => "pit";

    /// <summary>The speaker is driven by counter 2 now.</summary>
    public bool IsSpeakerOn => (_port61 & (PortGate | PortSpeaker)) == (PortGate | PortSpeaker);

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("pit", CounterPort, 4, new TableRegion<I8254Pit>(s_counters, this));
        ports.Map("port 61", SpeakerPort, 1, new TableRegion<I8254Pit>(s_port61, this));
    }

    private long Now => s_crystal.Ticks(_clock.Now);

    private byte ReadCounter(int index) => _channels[index].Read(Now);

    private void WriteCounter(int index, byte value)
    {
        var channel = _channels[index];
        var now = Now;
        channel.WriteCount(value, now);
        if (index != 0) return;
        if (!channel.Out(now) && channel.Mode == 0) _irq.Set(false);
        Arm(now);
    }

    private void WriteControl(byte value)
    {
        var index = value >> 6;
        var now = Now;
        if (index == Channels)
        {
            for (var i = 0; i < Channels; i++)
            {
                if ((value & (2 << i)) == 0) continue;
                if ((value & ReadBackNoCount) == 0) _channels[i].LatchCount(now);
                if ((value & ReadBackNoStatus) == 0) _channels[i].LatchStatus(now);
            }

            return;
        }

        if ((value & 0x30) == 0)
        {
            _channels[index].LatchCount(now);
            return;
        }

        _channels[index].WriteControl(value);
        if (index != 0) return;

        // A control word puts OUT low in mode 0 and high in all others.
        _irq.Set(_channels[0].Out(now));
        Arm(now);
    }

    private uint ReadPort61()
    {
        var now = Now;
        return (uint)(_port61 | ((now / RefreshTicks & 1) != 0 ? PortRefresh : 0) | (_channels[2].Out(now) ? PortOut : 0));
    }

    private void WritePort61(byte value)
    {
        _port61 = (byte)(value & PortWritable);
        _channels[2].SetGate((value & PortGate) != 0, Now);
    }

    private void Arm(long now)
    {
        var rise = _channels[0].NextRise(now);
        if (rise == PitChannel.Never) _rise.Cancel();
        else _rise.Arm(s_crystal.Time(rise));
    }

    private void OutRises()
    {
        _irq.Set(false);
        _irq.Set(true);
        Arm(Now);
    }

    /// <summary>After power on the counters are undefined; here they wait in mode 0 for a count.</summary>
    public void Reset(ResetKind kind)
    {
        s_port61.Reset(this);
        foreach (var channel in _channels) channel.Reset();
        _rise.Cancel();
        _irq.Set(false);
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_port61, this);
        for (var i = 0; i < Channels; i++) s.Child(i switch { 0 => "counter0", 1 => "counter1", _ => "counter2" }, _channels[i]);
        s.Timer(_rise);
        s.Line("irq", _irq);
    }
}
