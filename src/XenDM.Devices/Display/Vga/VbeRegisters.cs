using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// The "DISPI" registers by which Bochs's adapter leaves the VGA's modes: index at port 1ce, data at 1cf (x86) and 1d0, words only; also in the
/// adapter's memory BAR. Interface: Bochs, "VBE Display API", versions b0c0 to b0c5.
/// Values are made to fit: a width is a multiple of 8, the virtual screen holds the visible one, and both lie in video memory.
/// Deviations: XRES, YRES and BPP also change while a mode is on; the virtual height is always what fits in memory.
/// </summary>
public sealed class VbeRegisters : IIoRegion, IExtendedMode, IStateful
{
    private const ushort IndexPort = 0x1ce;
    private const ushort FirstId = 0xb0c0;
    private const ushort LastId = 0xb0c5;
    private const int RegisterCount = 11;
    private const int BankBytes = 64 << 10;

    private const ushort EnableOn = 0x01;
    private const ushort EnableCaps = 0x02;
    private const ushort EnableWideDac = 0x20;
    private const ushort EnableLinear = 0x40;
    private const ushort EnableKeepMemory = 0x80;
    private const ushort EnableWritable = EnableOn | EnableCaps | EnableWideDac | EnableLinear | EnableKeepMemory;

    private const ushort MaxWidth = 16000;
    private const ushort MaxHeight = 12000;
    private const ushort MaxDepth = 32;

    /// <summary>Bytes of the registers in the memory BAR.</summary>
    public const int Bytes = RegisterCount * 2;

    private static readonly RegisterTable<VbeRegisters> s_registers = new RegisterTable<VbeRegisters>("VBE", Bytes)
        .Word(0x00, "ID", static v => ref v._id, reset: LastId, write: static (v, value) => v.WriteId(value))
        .Word(0x02, "XRES", static v => ref v._width, read: static v => v.IsAskedForCaps ? MaxWidth : v._width, write: static (v, value) => v.WriteWidth(value))
        .Word(0x04, "YRES", static v => ref v._height, read: static v => v.IsAskedForCaps ? MaxHeight : v._height, write: static (v, value) => v.WriteHeight(value))
        .Word(0x06, "BPP", static v => ref v._depth, reset: 8, read: static v => v.IsAskedForCaps ? MaxDepth : v._depth, write: static (v, value) => v.WriteDepth(value))
        .Word(0x08, "ENABLE", static v => ref v._enable, write: static (v, value) => v.WriteEnable((ushort)value))
        .Word(0x0a, "BANK", static v => ref v._bank, write: static (v, value) => v.WriteBank(value))
        .Word(0x0c, "VIRT_WIDTH", static v => ref v._virtualWidth, after: static v => v.Fit())
        .Word(0x0e, "VIRT_HEIGHT", static v => ref v._virtualHeight, mask: 0)
        .Word(0x10, "X_OFFSET", static v => ref v._x, after: static v => v.Fit())
        .Word(0x12, "Y_OFFSET", static v => ref v._y, after: static v => v.Fit())
        .Computed(0x14, 2, "VIDEO_MEMORY_64K", read: static v => (uint)(v._memory.Size / BankBytes))
        .Build();

    private readonly VideoMemory _memory;
    private readonly VgaRegisters _vga;
    private readonly ChangeBell _bell;
    private ushort _index;
    private ushort _id;
    private ushort _width;
    private ushort _height;
    private ushort _depth;
    private ushort _enable;
    private ushort _bank;
    private ushort _virtualWidth;
    private ushort _virtualHeight;
    private ushort _x;
    private ushort _y;

    public VbeRegisters(VideoMemory memory, VgaRegisters vga, ChangeBell bell)
    {
        _memory = memory;
        _vga = vga;
        _bell = bell;
    }

    /// <summary>A mode of these registers is on; the VGA's is not on the screen.</summary>
    public bool IsOn => (_enable & EnableOn) != 0;

    /// <summary>SR1 bit 5 works in these modes too.</summary>
    public bool IsDark => _vga.IsScreenOff;

    /// <summary>Bits a pixel: 4, 8, 15, 16, 24 or 32.</summary>
    public int Depth => _depth;

    /// <summary>Pixels of the screen, a multiple of 8.</summary>
    public int Width => _width;

    /// <summary>Lines of the screen.</summary>
    public int Height => _height;

    /// <summary>Bytes of video memory from one line to the next.</summary>
    public int Pitch => PitchOf(_virtualWidth);

    /// <summary>Pixels from the left of the virtual screen to the visible one.</summary>
    public int X => _x;

    /// <summary>Lines from the top of the virtual screen to the visible one.</summary>
    public int Y => _y;

    /// <summary>The virtual screen lies in memory as a whole, so every line does.</summary>
    int IExtendedMode.LineAddress(int y) => (_y + y) * Pitch;

    /// <summary>The window at a0000 shows 64 KiB of linear memory.</summary>
    internal bool IsBanked => IsOn && _depth > 4;

    /// <summary>What the bank adds to an address in the window.</summary>
    internal int BankOffset => IsOn ? _bank * BankBytes : 0;

    internal RegionMapping MapPorts(AddressSpace ports) => ports.Map("vbe", IndexPort, 4, this);

    private bool IsAskedForCaps => (_enable & EnableCaps) != 0;

    /// <summary>Offset 0 is the index, 1 and 2 are the data. Bytes are not answered.</summary>
    public ulong Read(ulong offset, int size)
    {
        if (size != 2 || offset > 2) return ulong.MaxValue;
        return offset == 0 ? _index : ReadRegister(_index * 2ul, 2);
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size != 2 || offset > 2) return;
        if (offset == 0) _index = (ushort)value;
        else WriteRegister(_index * 2ul, 2, value);
    }

    /// <summary>An access by the memory BAR.</summary>
    /// <param name="offset">Bytes: twice the index.</param>
    internal ulong ReadRegister(ulong offset, int size) => offset < Bytes ? s_registers.Read(this, offset, size) : 0;

    /// <inheritdoc cref="ReadRegister"/>
    internal void WriteRegister(ulong offset, int size, ulong value)
    {
        if (offset >= Bytes) return;
        s_registers.Write(this, offset, size, value);
        _bell.Ring();
    }

    private void WriteId(uint value)
    {
        if (value is >= FirstId and <= LastId) _id = (ushort)value;
    }

    private void WriteWidth(uint value)
    {
        value &= ~7u;
        if (value is 0 or > MaxWidth) return;
        _width = (ushort)value;
        Fit();
    }

    private void WriteHeight(uint value)
    {
        if (value is 0 or > MaxHeight) return;
        _height = (ushort)value;
        Fit();
    }

    private void WriteDepth(uint value)
    {
        if (value == 0) value = 8;
        if (value is not (4 or 8 or 15 or 16 or 24 or 32)) return;
        _depth = (ushort)value;
        Fit();
    }

    private void WriteBank(uint value) => _bank = (ushort)(value & (((uint)_memory.Size / BankBytes >> (_depth == 4 ? 2 : 0)) - 1));

    /// <summary>Switching a mode on shows the upper left corner of a screen as wide as what is visible, black unless told otherwise.</summary>
    private void WriteEnable(ushort value)
    {
        var wasOn = IsOn;
        _enable = (ushort)(value & EnableWritable);
        _vga.WideDac = (_enable & EnableWideDac) != 0;
        if (wasOn || !IsOn) return;
        _x = _y = _bank = 0;
        _virtualWidth = _width;
        if (_width == 0) _width = _virtualWidth = 640;
        if (_height == 0) _height = 480;
        Fit();
        if ((_enable & EnableKeepMemory) != 0) return;
        var shown = Math.Min(_memory.Size, Pitch * _height);
        _memory.Bytes[..shown].Clear();
        _memory.NoteWrite(0, shown);
    }

    private int PitchOf(int width) => _depth switch
    {
        4 => width / 2,
        8 => width,
        15 or 16 => width * 2,
        24 => width * 3,
        _ => width * 4,
    };

    /// <summary>Brings the registers into agreement with each other and with the memory. 256 KiB hold at least four lines of the widest screen.</summary>
    private void Fit()
    {
        _virtualWidth = (ushort)Math.Clamp(_virtualWidth & ~7, _width, MaxWidth);
        if (_virtualWidth == 0) return;
        var lines = Math.Min(_memory.Size / Pitch, ushort.MaxValue);
        _virtualHeight = (ushort)lines;
        if (_height > lines) _height = (ushort)lines;
        _x = (ushort)Math.Min(_x, _virtualWidth - _width);
        _y = (ushort)Math.Min(_y, lines - _height);
    }

    internal void Reset()
    {
        s_registers.Reset(this);
        _index = 0;
        _vga.WideDac = false;
    }

    public void State(StateVisitor s)
    {
        s.U16("index", ref _index);
        s.Registers(s_registers, this);
        if (!s.IsLoading) return;
        if (_depth is not (4 or 8 or 15 or 16 or 24 or 32)) s.Fail("BPP", $"{_depth} is no depth");
        if (_width > MaxWidth || _width % 8 != 0 || _height > MaxHeight || (IsOn && (_width == 0 || _height == 0))) s.Fail("XRES", "the screen has no possible size");
        if (_bank >= _memory.Size / BankBytes) s.Fail("BANK", $"{_bank} lies behind the memory");
        _vga.WideDac = (_enable & EnableWideDac) != 0;
        Fit();
    }
}
