using XenDM.Core.Io;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// The I/O APIC as Xen gives it: 82093AA registers with 48 inputs, version 0x11, at 0xfec00000. Data sheet: Intel 82093AA (290566-001), section 3.
/// </summary>
public sealed class IoApic : IDevice
{
    public const ulong Address = 0xfec0_0000;
    public const int Inputs = 48;
    private const ulong Masked = 1 << 16, Level = 1 << 15, RemoteIrr = 1 << 14, Pending = 1 << 12;
    private const ulong Writable = 0xff00_0000_0001_afff;

    private static readonly RegisterTable<IoApic> s_registers = new RegisterTable<IoApic>("IOAPIC", 0x20)
        .Dword(0, "IOREGSEL", static a => ref a._select, mask: 0xff)
        .Reserved(4, 12)
        .Computed(0x10, 4, "IOWIN", read: static a => a.ReadWindow(), write: static (a, v) => a.WriteWindow(v))
        .Reserved(0x14, 12)
        .Build();

    private readonly ApicBus _bus;
    private readonly ulong[] _entries = new ulong[Inputs];
    private ulong _levels;
    private uint _select, _id;

    public IoApic(ApicBus bus)
    {
        _bus = bus;
        bus.Add(this);
        Reset(ResetKind.Cold);
    }

    public string Id => "ioapic";

    public void MapMemory(AddressSpace memory) => memory.Map("ioapic", Address, 0x20, new TableRegion<IoApic>(s_registers, this));

    private uint ReadWindow()
    {
        switch (_select)
        {
            case 0 or 2: return _id;
            case 1: return 0x11 | ((Inputs - 1) << 16);
            case >= 0x10 and < 0x10 + (2 * Inputs):
                {
                    var entry = _entries[(_select - 0x10) >> 1];
                    return (_select & 1) != 0 ? (uint)(entry >> 32) : (uint)entry;
                }

            default: return 0;
        }
    }

    private void WriteWindow(uint value)
    {
        switch (_select)
        {
            case 0:
                _id = value & 0x0f00_0000;
                break;
            case >= 0x10 and < 0x10 + (2 * Inputs):
                {
                    var n = (int)(_select - 0x10) >> 1;
                    ref var entry = ref _entries[n];
                    entry = (_select & 1) != 0
                        ? (entry & 0xffff_ffff) | (((ulong)value << 32) & Writable)
                        : (entry & (0xffff_ffff_0000_0000 | RemoteIrr | Pending)) | (value & Writable);
                    if ((entry & Level) == 0) entry &= ~RemoteIrr;
                    Service(n, edge: false);
                    break;
                }

            default:
                break;
        }
    }

    /// <summary>Drives an input, active high.</summary>
    public void SetLevel(int input, bool level)
    {
        var bit = 1ul << input;
        var was = (_levels & bit) != 0;
        if (level == was) return;
        _levels = level ? _levels | bit : _levels & ~bit;
        if (level) Service(input, edge: true);
    }

    private void Service(int n, bool edge)
    {
        ref var entry = ref _entries[n];
        if ((entry & Masked) != 0) return;
        if ((entry & Level) != 0)
        {
            if ((_levels >> n & 1) == 0 || (entry & RemoteIrr) != 0) return;
            entry |= RemoteIrr;
        }
        else if (!edge)
        {
            return;
        }

        _bus.Deliver((uint)(entry >> 56), (entry & 0x800) != 0, false, (DeliveryMode)(entry >> 8 & 7), (byte)entry, (entry & Level) != 0);
    }

    /// <summary>A level input that is still up asks again.</summary>
    internal void EndOfInterrupt(byte vector)
    {
        for (var n = 0; n < Inputs; n++)
        {
            ref var entry = ref _entries[n];
            if ((byte)entry != vector || (entry & (Level | RemoteIrr)) != (Level | RemoteIrr)) continue;
            entry &= ~RemoteIrr;
            Service(n, edge: false);
        }
    }

    public void Reset(ResetKind kind)
    {
        s_registers.Reset(this);
        System.Array.Fill(_entries, Masked);
        _id = 0;
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_registers, this);
        s.U32("id", ref _id);
        s.U64("levels", ref _levels);
        for (var n = 0; n < Inputs; n++) s.U64($"entry{n}", ref _entries[n]);
    }
}
