using System.Numerics;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// The I/O APIC of an HVM guest at fec00000: an Intel 82093AA of version 0x11 with 48 redirection entries and no EOI register. Inputs:
/// global system interrupts 0 to 47; input 0 is INTR of the 8259 pair. Data sheet: Intel 290566-001, section 3.
/// Deviations: the inputs are logical levels, so the polarity bit holds what is written and inverts nothing (Xen does the same). Messages
/// arrive at once: delivery status reads 0. An ExtINT entry forwards its input whenever it rises or is opened, whatever its trigger mode.
/// </summary>
public sealed class IoApic : IDevice, IIoRegion, IIrqSink
{
    /// <summary>Inputs, and redirection entries.</summary>
    public const int Inputs = 48;

    /// <summary>Where the registers lie.</summary>
    public const ulong Address = 0xfec00000;
    private const ulong PageBytes = 0x1000;
    private const int Select = 0x00;
    private const int Window = 0x10;
    private const uint Version = 0x11 | ((Inputs - 1) << 16);
    private const byte RegId = 0x00;
    private const byte RegVersion = 0x01;
    private const byte RegArbitration = 0x02;
    private const byte RegEntries = 0x10;
    private const ulong Logical = 1ul << 11;
    private const ulong RemoteIrr = 1ul << 14;
    private const ulong Level = 1ul << 15;
    private const ulong Masked = 1ul << 16;
    private const ulong EntryWritable = 0xff0000000001afff;

    private readonly ApicBus _bus;
    private readonly ulong[] _entries = new ulong[Inputs];
    private ulong _lines;
    private byte _select;
    private uint _id;

    [Glue("from the entries: pins with remote IRR set")]
    private ulong _awaitEoi;

    public IoApic(ApicBus bus)
    {
        _bus = bus;
        bus.Add(this);
        Reset(ResetKind.Cold);
    }

    public string Id => "ioapic";

    public void MapMemory(AddressSpace memory) => memory.Map(Id, Address, PageBytes, this);

    /// <summary>A redirection entry, for <c>info</c> commands.</summary>
    /// <param name="pin">0 to 47.</param>
    public ulong Entry(int pin) => _entries[pin];

    /// <summary>Drives an input.</summary>
    /// <param name="input">0 to 47.</param>
    public void SetLevel(int input, bool level)
    {
        if ((uint)input >= Inputs) return;
        var bit = 1ul << input;
        if (!level)
        {
            _lines &= ~bit;
            return;
        }

        if ((_lines & bit) != 0) return;
        _lines |= bit;

        // An edge at a masked input is lost.
        if ((_entries[input] & Masked) == 0) Send(input);
    }

    /// <summary>A level interrupt with this vector was ended: inputs that are still up interrupt again.</summary>
    public void EndOfInterrupt(byte vector)
    {
        for (var rest = _awaitEoi; rest != 0; rest &= rest - 1)
        {
            var pin = BitOperations.TrailingZeroCount(rest);
            if ((byte)_entries[pin] != vector) continue;
            SetRemoteIrr(pin, false);
            if ((_lines & (1ul << pin)) != 0 && (_entries[pin] & Masked) == 0) Send(pin);
        }
    }

    public ulong Read(ulong offset, int size)
    {
        var lane = (int)offset & 3;
        return ((int)offset & 0xffc) switch
        {
            Select => (ulong)_select >> (8 * lane),
            Window => (ulong)ReadWindow() >> (8 * lane),
            _ => 0,
        };
    }

    /// <summary>The registers are written as dwords; the index also as a byte.</summary>
    public void Write(ulong offset, int size, ulong value)
    {
        if (offset == Select) _select = (byte)value;
        else if (offset == Window && size >= 4) WriteWindow((uint)value);
    }

    private uint ReadWindow()
    {
        switch (_select)
        {
            case RegId or RegArbitration: return _id;
            case RegVersion: return Version;
        }

        var pin = (_select - RegEntries) >> 1;
        if (_select < RegEntries || pin >= Inputs) return 0;
        return (uint)(_entries[pin] >> (32 * (_select & 1)));
    }

    private void WriteWindow(uint value)
    {
        if (_select == RegId) _id = value & 0x0f000000;
        var pin = (_select - RegEntries) >> 1;
        if (_select < RegEntries || pin >= Inputs) return;
        var shift = 32 * (_select & 1);
        WriteEntry(pin, (_entries[pin] & ~(0xfffffffful << shift)) | ((ulong)value << shift));
    }

    private void WriteEntry(int pin, ulong value)
    {
        var old = _entries[pin];
        _entries[pin] = (value & EntryWritable) | (old & RemoteIrr);

        // An entry set to edge forgets the interrupt that waits for its end: how a driver ends one without an EOI register.
        if ((value & Level) == 0) SetRemoteIrr(pin, false);
        if ((_lines & (1ul << pin)) == 0 || (value & Masked) != 0) return;
        var opened = (old & Masked) != 0 && Delivery(value) == DeliveryMode.ExtInt;
        if ((value & Level) != 0 || opened) Send(pin);
    }

    private void Send(int pin)
    {
        var entry = _entries[pin];
        var delivery = Delivery(entry);

        // Only fixed and lowest priority interrupts have a level, all others are edges.
        var isLevel = (entry & Level) != 0 && delivery <= DeliveryMode.LowestPriority;
        if (isLevel)
        {
            if ((entry & RemoteIrr) != 0) return;
            SetRemoteIrr(pin, true);
        }

        _bus.DeliverShort((byte)(entry >> 56), (entry & Logical) != 0, delivery, (byte)entry, isLevel);
    }

    private static DeliveryMode Delivery(ulong entry) => (DeliveryMode)((entry >> 8) & 7);

    private void SetRemoteIrr(int pin, bool value)
    {
        if (value)
        {
            _entries[pin] |= RemoteIrr;
            _awaitEoi |= 1ul << pin;
        }
        else
        {
            _entries[pin] &= ~RemoteIrr;
            _awaitEoi &= ~(1ul << pin);
        }
    }

    /// <summary>All entries are masked; the inputs keep their levels, which are others'.</summary>
    public void Reset(ResetKind kind)
    {
        System.Array.Fill(_entries, Masked);
        _awaitEoi = 0;
        _select = 0;
        _id = 0;
    }

    public void State(StateVisitor s)
    {
        for (var i = 0; i < Inputs; i++) s.U64($"RTE{i}", ref _entries[i]);
        s.U64("lines", ref _lines);
        s.U8("IOREGSEL", ref _select);
        s.U32("ID", ref _id);
    }

    public void Restored()
    {
        _awaitEoi = 0;
        for (var i = 0; i < Inputs; i++)
            if ((_entries[i] & RemoteIrr) != 0) _awaitEoi |= 1ul << i;
    }
}
