using System;
using System.Buffers.Binary;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.State;

namespace XenDM.Core.Pci;

/// <summary>
/// A PCI function with a type 0 header (PCI Local Bus Specification 3.0, section 6): 256 bytes of configuration space with a reset value,
/// a write mask and a write-one-to-clear mask for each byte; base address registers that move regions; an INTx line; DMA that bus
/// mastering gates. A chip derives from it, or owns one.
/// </summary>
public abstract class PciFunction : IDevice
{
    public const int ConfigBytes = 256;
    private const int RomSlot = 6;
    private const uint RomEnable = 1;

    private readonly byte[] _config = new byte[ConfigBytes];
    [Glue("fixed by the chip's constructor")]
    private readonly byte[] _default = new byte[ConfigBytes];
    [Glue("fixed by the chip's constructor")]
    private readonly byte[] _writable = new byte[ConfigBytes];
    [Glue("fixed by the chip's constructor")]
    private readonly byte[] _clearable = new byte[ConfigBytes];
    private readonly Bar?[] _bars = new Bar?[7];
    [Glue("the wire follows the chip's own level and the command register")]
    private IrqLine? _intx;
    private bool _intxLevel;

    private sealed class Bar
    {
        public required BarKind Kind;
        public required uint Size;
        public required string Name;
        public required IIoRegion Region;
        public RegionMapping? Mapping;
    }

    /// <param name="classCode">Base class in 23:16, sub class in 15:8, programming interface in 7:0.</param>
    protected PciFunction(string id, ushort vendor, ushort device, uint classCode, byte revision, IGuestMemory memory)
    {
        Id = id;
        Dma = new Dma(memory, enabled: false);
        SetDefault16(PciConstants.VendorId, vendor);
        SetDefault16(PciConstants.DeviceId, device);
        SetDefault8(PciConstants.Revision, revision);
        SetDefault8(PciConstants.ProgIf, (byte)classCode);
        SetDefault16(PciConstants.ClassDevice, (ushort)(classCode >> 8));
        SetWritable16(PciConstants.Command, PciConstants.CommandIo | PciConstants.CommandMemory | PciConstants.CommandMaster | PciConstants.CommandInterruptDisable);
        SetWritable8(0x0c, 0xff);
        SetWritable8(PciConstants.InterruptLine, 0xff);

        // Status: the error bits are cleared by writing ones.
        _clearable[PciConstants.Status + 1] = 0xf9;
    }

    public string Id { get; }

    public virtual int StateVersion => 1;

    /// <summary>Place on bus 0; -1 while not on the bus.</summary>
    [Glue("the board's layout")]
    public int Device { get; private set; } = -1;

    /// <inheritdoc cref="Device"/>
    [Glue("the board's layout")]
    public int Function { get; private set; } = -1;

    /// <summary>1 to 4 for INTA to INTD, 0 for none.</summary>
    public int InterruptPin => _config[PciConstants.InterruptPin];

    /// <summary>The function drives its INTx line.</summary>
    public bool IntxAsserted => _intx is { Level: true };

    public ushort VendorId => BinaryPrimitives.ReadUInt16LittleEndian(_default);

    public ushort DeviceId => BinaryPrimitives.ReadUInt16LittleEndian(_default.AsSpan(PciConstants.DeviceId));

    /// <summary>Base class in 15:8, sub class in 7:0.</summary>
    public ushort ClassId => BinaryPrimitives.ReadUInt16LittleEndian(_default.AsSpan(PciConstants.ClassDevice));

    protected Dma Dma { get; }

    [Glue("the board's layout")]
    protected PciBus? Bus { get; private set; }

    /// <summary>The live configuration space; chips read their own registers from it.</summary>
    protected ReadOnlySpan<byte> Config => _config;

    /// <summary>One line for <c>info pci</c>: kind, base and size of each BAR that is there.</summary>
    public System.Collections.Generic.IEnumerable<(int Index, BarKind Kind, ulong Base, uint Size)> Bars
    {
        get
        {
            for (var i = 0; i < _bars.Length; i++)
                if (_bars[i] is { } bar) yield return (i, bar.Kind, BarAddress(i, bar), bar.Size);
        }
    }

    public uint ReadConfig(int register, int size)
    {
        BeforeConfigRead(register, size);
        uint value = 0;
        for (var i = 0; i < size; i++) value |= (uint)_config[register + i] << (8 * i);
        return value;
    }

    public void WriteConfig(int register, int size, uint value)
    {
        for (var i = 0; i < size; i++)
        {
            var at = register + i;
            var written = (byte)(value >> (8 * i));
            _config[at] = (byte)(((_config[at] & ~_writable[at]) | (written & _writable[at])) & ~(written & _clearable[at]));
        }

        if (Overlaps(register, size, PciConstants.Command, 2) || Overlaps(register, size, PciConstants.Bar0, 24) || Overlaps(register, size, PciConstants.RomBar, 4)) ApplyHeader();
        ConfigWritten(register, size);
    }

    public virtual void Reset(ResetKind kind)
    {
        _default.CopyTo(_config, 0);
        _intxLevel = false;
        ApplyHeader();
    }

    public virtual void State(StateVisitor s)
    {
        s.Bytes("config", _config);
        s.Bool("intx", ref _intxLevel);
        if (s.IsLoading) _intx?.Restore(_intxLevel && (Command & PciConstants.CommandInterruptDisable) == 0);
    }

    public virtual void Restored() => ApplyHeader();

    public virtual void Saving()
    {
    }

    internal void Attached(PciBus bus, int device, int function, IrqLine intx)
    {
        Bus = bus;
        Device = device;
        Function = function;
        _intx = intx;
        _default.CopyTo(_config, 0);
        foreach (var bar in _bars)
        {
            if (bar is null) continue;
            var space = bar.Kind == BarKind.Io ? bus.Ports : bus.Memory;
            bar.Mapping = space.Map($"{Id} {bar.Name}", 0, bar.Size, bar.Region, priority: 1, enabled: false);
        }

        OnAttached();
    }

    internal void Detached()
    {
        SetIntx(false);
        Dma.Enabled = false;
        foreach (var bar in _bars)
        {
            if (bar is null) continue;
            if (bar.Mapping is { Enabled: true } shown) BarPlaced(Array.IndexOf(_bars, bar), shown.Base, false);
            bar.Mapping?.Remove();
            bar.Mapping = null;
        }

        OnDetached();
        Bus = null;
    }

    /// <summary>Drives INTx; the command register's disable bit masks it.</summary>
    protected void SetIntx(bool level)
    {
        _intxLevel = level;
        ApplyIntx();
    }

    protected ushort Command => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(PciConstants.Command));

    /// <summary>Declares a base address register, before the function is on the bus.</summary>
    /// <param name="index">0 to 5.</param>
    /// <param name="size">Bytes, a power of two (I/O at least 4, memory at least 16).</param>
    protected void AddBar(int index, BarKind kind, uint size, IIoRegion region, string name)
    {
        if (!System.Numerics.BitOperations.IsPow2(size)) throw new ArgumentOutOfRangeException(nameof(size));
        _bars[index] = new Bar { Kind = kind, Size = size, Name = name, Region = region };
        var mask = ~(size - 1) & (kind == BarKind.Io ? ~3u : ~15u);
        SetWritable32(PciConstants.Bar0 + (4 * index), mask);
        SetDefault32(PciConstants.Bar0 + (4 * index), kind switch { BarKind.Io => 1, BarKind.MemoryPrefetchable => 8, _ => 0 });
    }

    /// <summary>Declares the expansion ROM.</summary>
    /// <param name="size">Bytes, a power of two of at least 2048.</param>
    protected void AddRom(uint size, IIoRegion region)
    {
        _bars[RomSlot] = new Bar { Kind = BarKind.Memory, Size = size, Name = "rom", Region = region };
        SetWritable32(PciConstants.RomBar, (~(size - 1) & ~0x7ffu) | RomEnable);
    }

    protected void SetDefault8(int register, byte value) => _default[register] = _config[register] = value;

    protected void SetDefault16(int register, ushort value)
    {
        SetDefault8(register, (byte)value);
        SetDefault8(register + 1, (byte)(value >> 8));
    }

    protected void SetDefault32(int register, uint value)
    {
        SetDefault16(register, (ushort)value);
        SetDefault16(register + 2, (ushort)(value >> 16));
    }

    protected void SetWritable8(int register, byte mask) => _writable[register] = mask;

    protected void SetWritable16(int register, int mask)
    {
        SetWritable8(register, (byte)mask);
        SetWritable8(register + 1, (byte)(mask >> 8));
    }

    protected void SetWritable32(int register, uint mask)
    {
        SetWritable16(register, (ushort)mask);
        SetWritable16(register + 2, (ushort)(mask >> 16));
    }

    protected void SetClearable8(int register, byte mask) => _clearable[register] = mask;

    /// <summary>Changes a live byte past the masks: bits that the chip itself sets.</summary>
    protected void PokeConfig(int register, byte value) => _config[register] = value;

    protected void SetSubsystem(ushort vendor, ushort id)
    {
        SetDefault16(PciConstants.SubsystemVendorId, vendor);
        SetDefault16(PciConstants.SubsystemId, id);
    }

    /// <param name="pin">1 to 4 for INTA to INTD.</param>
    protected void SetInterruptPin(byte pin) => SetDefault8(PciConstants.InterruptPin, pin);

    /// <summary>After a configuration write took effect.</summary>
    protected virtual void ConfigWritten(int register, int size)
    {
    }

    /// <summary>Before a configuration read: computed registers are poked here.</summary>
    protected virtual void BeforeConfigRead(int register, int size)
    {
    }

    /// <summary>A base address register shows its region somewhere else, or hides or shows it.</summary>
    /// <param name="index">0 to 5; 6 for the expansion ROM.</param>
    protected virtual void BarPlaced(int index, ulong address, bool visible)
    {
    }

    protected virtual void OnAttached()
    {
    }

    protected virtual void OnDetached()
    {
    }

    protected static bool Overlaps(int register, int size, int start, int length) => register < start + length && start < register + size;

    private uint Read32(int register) => BinaryPrimitives.ReadUInt32LittleEndian(_config.AsSpan(register));

    private void ApplyHeader()
    {
        Dma.Enabled = (Command & PciConstants.CommandMaster) != 0;
        for (var i = 0; i < _bars.Length; i++)
        {
            if (_bars[i] is not { Mapping: { } mapping } bar) continue;
            var address = BarAddress(i, bar);
            var visible = IsBarVisible(i, bar, address);
            if (mapping.Base == address && mapping.Enabled == visible) continue;
            mapping.Place(address, visible);
            BarPlaced(i, address, visible);
        }

        ApplyIntx();
    }

    private ulong BarAddress(int index, Bar bar)
    {
        var raw = Read32(index == RomSlot ? PciConstants.RomBar : PciConstants.Bar0 + (4 * index));
        return raw & ~(bar.Size - 1) & (bar.Kind == BarKind.Io ? ~3u : ~15u);
    }

    /// <summary>An address of 0, or one that runs over the end of the space, is what a BAR holds before it is set or while it is sized.</summary>
    private bool IsBarVisible(int index, Bar bar, ulong address)
    {
        var enable = bar.Kind == BarKind.Io ? PciConstants.CommandIo : PciConstants.CommandMemory;
        if ((Command & enable) == 0 || address == 0) return false;
        if (index == RomSlot && (Read32(PciConstants.RomBar) & RomEnable) == 0) return false;
        return bar.Kind == BarKind.Io ? address + bar.Size <= 0x10000 : address + bar.Size < 0x1_0000_0000;
    }

    private void ApplyIntx()
    {
        var status = _config[PciConstants.Status];
        _config[PciConstants.Status] = (byte)(_intxLevel ? status | PciConstants.StatusInterrupt : status & ~PciConstants.StatusInterrupt);
        _intx?.Set(_intxLevel && (Command & PciConstants.CommandInterruptDisable) == 0);
    }
}
