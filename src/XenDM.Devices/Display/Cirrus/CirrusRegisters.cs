using System;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Devices.Display.Vga;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// What the CL-GD5446 adds to the registers of a VGA: SR6 to SR1F, GR9 to GR39, CR19 to CR3F, the hidden DAC register behind the PEL mask, and
/// the palette of the hardware cursor. Says what of them is on the screen. Specification: CL-GD5446 Technical Reference Manual, "Extension
/// Registers".
/// Deviations: the extension registers answer also while SR6 locks them, and GR33 also while GRE bit 5 is 0, because drivers count on it; memory
/// is always reported as the 4 MiB that the chip can have; there is nothing on the DDC and EEPROM lines of SR8; GR16 and GR17 do not follow the
/// beam; the video window of CR31 to CR3F, the colour key and the mixed mode of bit 15 in 5-5-5 are kept but not shown; SR1 bit 5 does not make
/// packed modes dark, because SeaBIOS's VGA BIOS leaves it set.
/// </summary>
internal sealed class CirrusRegisters : IVgaExtension, IExtendedMode, IStateful
{
    private const int FirstSequencer = 0x06;
    private const int FirstCrtc = 0x19;
    private const int FirstGraphics = 0x09;
    private const byte IndexedByPosition = 0x1f;
    private const byte SequencerCursorX = 0x10;
    private const byte SequencerCursorY = 0x11;

    private const byte KeyMask = 0x17;
    private const byte Key = 0x12;
    private const byte Locked = 0x0f;
    private const byte ModePacked = 0x01;
    private const byte CursorExtraPalette = 0x02;
    private const byte ConfigurationMmio = 0x04;
    private const byte ConfigurationMmioLinear = 0x40;
    private const byte PowerStaticSync = 0x06;
    private const byte ExtensionDualBanks = 0x01;
    private const byte ExtensionBy8 = 0x02;
    private const byte ExtensionWriteModes = 0x04;
    private const byte ExtensionLatches8 = 0x08;
    private const byte ExtensionBy16 = 0x10;
    private const byte ExtensionBanks16K = 0x20;
    private const byte ChipId = 0xb8;
    private const int ReferenceClock = 14_318;
    private const int HiddenDacReads = 4;

    /// <summary>Bits that the CPU cannot change: busy and progress.</summary>
    internal const byte StatusBits = 0x19;

    private static readonly RegisterTable<CirrusRegisters> s_sequencer = new RegisterTable<CirrusRegisters>("CL-GD5446 sequencer", 0x20 - FirstSequencer)
        .Byte(0x00, "SR6 unlock extensions", static v => ref v._key, read: static v => v._key == Key ? Key : Locked, write: static (v, value) => v._key = (byte)(value & KeyMask))
        .Byte(0x01, "SR7 extended sequencer mode", static v => ref v._sequencer[0x07])
        .Byte(0x02, "SR8 EEPROM and DDC", static v => ref v._sequencer[0x08], read: static v => v.ReadLines())
        .Byte(0x03, "SR9 scratch 0", static v => ref v._sequencer[0x09])
        .Byte(0x04, "SRA scratch 1", static v => ref v._sequencer[0x0a])
        .Byte(0x05, "SRB VCLK0 numerator", static v => ref v._sequencer[0x0b], reset: 0x66)
        .Byte(0x06, "SRC VCLK1 numerator", static v => ref v._sequencer[0x0c], reset: 0x5b)
        .Byte(0x07, "SRD VCLK2 numerator", static v => ref v._sequencer[0x0d], reset: 0x45)
        .Byte(0x08, "SRE VCLK3 numerator", static v => ref v._sequencer[0x0e], reset: 0x7e)
        .Byte(0x09, "SRF DRAM control", static v => ref v._sequencer[0x0f], reset: 0x98)
        .Word(0x0a, "SR10 cursor X", static v => ref v._cursorX, mask: 0)
        .Byte(0x0c, "SR12 cursor attributes", static v => ref v._sequencer[0x12])
        .Byte(0x0d, "SR13 cursor pattern address", static v => ref v._sequencer[0x13])
        .Byte(0x0e, "SR14 scratch 2", static v => ref v._sequencer[0x14])
        .Byte(0x0f, "SR15 scratch 3", static v => ref v._sequencer[0x15], reset: 0x04)
        .Byte(0x10, "SR16 display FIFO", static v => ref v._sequencer[0x16])
        .Byte(0x11, "SR17 configuration", static v => ref v._sequencer[0x17], reset: 0x20, mask: 0xc7)
        .Byte(0x12, "SR18 signature control", static v => ref v._sequencer[0x18])
        .Byte(0x13, "SR19 signature low", static v => ref v._sequencer[0x19])
        .Byte(0x14, "SR1A signature high", static v => ref v._sequencer[0x1a])
        .Byte(0x15, "SR1B VCLK0 denominator", static v => ref v._sequencer[0x1b], reset: 0x3b)
        .Byte(0x16, "SR1C VCLK1 denominator", static v => ref v._sequencer[0x1c], reset: 0x2f)
        .Byte(0x17, "SR1D VCLK2 denominator", static v => ref v._sequencer[0x1d], reset: 0x30)
        .Byte(0x18, "SR1E VCLK3 denominator", static v => ref v._sequencer[0x1e], reset: 0x33)
        .Byte(0x19, "SR1F MCLK", static v => ref v._sequencer[0x1f], reset: 0x2d)
        .Build();

    private static readonly RegisterTable<CirrusRegisters> s_crtc = CrtcTable();

    private static readonly RegisterTable<CirrusRegisters> s_graphics = GraphicsTable();

    private readonly byte[] _sequencer = new byte[0x20];
    private readonly byte[] _crtc = new byte[0x40];

    /// <summary>GR0 to GR39; of GR0 and GR1, which the VGA has too, all eight bits, of GR5 the write mode with its third bit.</summary>
    private readonly byte[] _graphics = new byte[0x40];

    /// <summary>The palette of the cursor and the border: sixteen entries.</summary>
    private readonly byte[] _palette = new byte[48];
    private byte _key;
    private ushort _cursorX;
    private ushort _cursorY;
    private byte _planeMask;
    private byte _hiddenDac;
    private byte _pelMaskReads;
    [Glue("who is told; fixed when the chip is put together")]
    private Action _changed = static () => { };
    [Glue("who is told; fixed when the chip is put together")]
    private Action _start = static () => { };
    [Glue("who is told; fixed when the chip is put together")]
    private Action _abort = static () => { };
    [Glue("part of the same chip")]
    private VgaMemory? _planes;

    public CirrusRegisters(IVmClock clock, ChangeBell bell) => Vga = new VgaRegisters(clock, bell, this);

    /// <summary>The registers that every VGA has.</summary>
    public VgaRegisters Vga { get; }

    /// <summary>GR0 to GR39, with all eight bits of GR0 and GR1.</summary>
    public ReadOnlySpan<byte> Graphics => _graphics;

    /// <summary>Memory is packed pixels, at a0000 too, and a mode of this chip is on the screen unless it is a text mode.</summary>
    public bool IsPacked => (_sequencer[7] & ModePacked) != 0;

    public bool IsOn => IsPacked && (Vga.Graphics[6] & 1) != 0;

    /// <summary>The monitor is to sleep: one of its sync signals stands still.</summary>
    public bool IsDark => (_graphics[0x0e] & PowerStaticSync) != 0;

    public int Width => (Vga.Crtc[1] + 1) * 8;

    /// <summary>Interlaced modes (CR1A bit 0) count the lines of one field.</summary>
    public int Height => Vga.DisplayLines << (_crtc[0x1a] & 1);

    public int Depth => ((_sequencer[7] >> 1) & 7) switch
    {
        0 => 8,
        1 or 3 => (_hiddenDac & 0x0f) == 1 ? 16 : 15,
        2 => 24,
        4 => 32,
        _ => 8,
    };

    public int X => 0;

    /// <summary>Bytes from one line to the next.</summary>
    public int Pitch => (Vga.Crtc[0x13] | ((_crtc[0x1b] & 0x10) << 4)) * 8;

    /// <summary>The blitter's registers are in memory at b8000.</summary>
    public bool IsMmioInWindow => (_sequencer[0x17] & (ConfigurationMmio | ConfigurationMmioLinear)) == ConfigurationMmio;

    /// <summary>The blitter's registers are the last 256 bytes of linear memory.</summary>
    public bool IsMmioInLinear => (_sequencer[0x17] & (ConfigurationMmio | ConfigurationMmioLinear)) == (ConfigurationMmio | ConfigurationMmioLinear);

    /// <summary>4 or 5 for the write modes that expand a bit to a pixel; below for bytes as they are.</summary>
    public int WriteMode => (_graphics[0x0b] & ExtensionWriteModes) != 0 ? _graphics[5] : Vga.Graphics[5] & 3;

    /// <summary>Which of eight pixels the extended write modes write: bit 7 for the first one.</summary>
    public byte PixelMask => _planeMask;

    /// <summary>Pixels of the extended write modes have 16 bits.</summary>
    public bool IsWriteMode16 => (_graphics[0x0b] & (ExtensionWriteModes | ExtensionBy16)) == (ExtensionWriteModes | ExtensionBy16);

    /// <summary>Bits by which addresses of the CPU are shifted to the left: 3 where each stands for 8 bytes, 4 for 16.</summary>
    public int AddressShift => IsWriteMode16 ? 4 : (_graphics[0x0b] & ExtensionBy8) != 0 ? 3 : 0;

    /// <summary>A read takes eight bytes into the latches, and write mode 1 writes them.</summary>
    public bool HasWideLatches => (_graphics[0x0b] & (ExtensionBy8 | ExtensionLatches8)) == (ExtensionBy8 | ExtensionLatches8);

    /// <summary>Position of the cursor's left upper corner.</summary>
    public (int X, int Y) CursorPlace => (_cursorX, _cursorY);

    /// <summary>SR12: bit 0 shows the cursor, bit 2 makes it 64 x 64.</summary>
    public byte CursorAttributes => _sequencer[0x12];

    /// <summary>SR13.</summary>
    public byte CursorPattern => _sequencer[0x13];

    public Span<byte> OtherPalette => (_sequencer[0x12] & CursorExtraPalette) != 0 ? _palette : default;

    /// <param name="planes">Has the latches.</param>
    /// <param name="changed">A register changed that says how memory is reached.</param>
    /// <param name="start">The blitter starts.</param>
    /// <param name="abort">The blitter stops.</param>
    public void Wire(VgaMemory planes, Action changed, Action start, Action abort)
    {
        _planes = planes;
        (_changed, _start, _abort) = (changed, start, abort);
    }

    /// <summary>A colour of the palette of the cursor as 00RRGGBB.</summary>
    /// <param name="entry">0 to 15.</param>
    public uint CursorColour(int entry) => ((uint)_palette[3 * entry] << 16) | ((uint)_palette[(3 * entry) + 1] << 8) | _palette[(3 * entry) + 2];

    /// <summary>Where the 64 KiB at a0000 lie in memory.</summary>
    /// <param name="offset">0 to ffff.</param>
    /// <returns>Bytes, before the shift; may lie behind the end of memory.</returns>
    public int BankAddress(int offset)
    {
        var extension = _graphics[0x0b];
        var unit = (extension & ExtensionBanks16K) != 0 ? 14 : 12;
        if ((extension & ExtensionDualBanks) == 0) return (_graphics[0x09] << unit) + offset;
        return (_graphics[0x09 + (offset >> 15)] << unit) + (offset & 0x7fff);
    }

    public int LineAddress(int y)
    {
        var start = ((Vga.Crtc[0x0c] << 8) | Vga.Crtc[0x0d] | ((_crtc[0x1b] & 0x01) << 16) | ((_crtc[0x1b] & 0x0c) << 15) | ((_crtc[0x1d] & 0x80) << 12)) * 4;
        var compare = Vga.LineCompare << (_crtc[0x1a] & 1);

        // The line after that of line compare begins at address 0.
        if (y > compare) (start, y) = (0, y - compare - 1);
        var repeats = ((Vga.Crtc[9] & 0x1f) + 1) << (Vga.Crtc[9] >> 7);
        return start + (y / repeats * Pitch);
    }

    public int DotClock(int select)
    {
        int numerator = _sequencer[0x0b + select] & 0x7f, denominator = _sequencer[0x1b + select];
        var divisor = ((denominator >> 1) & 0x1f) << (denominator & 1);
        return Math.Max(1000, ReferenceClock * numerator / Math.Max(divisor, 1));
    }

    public bool TryRead(RegisterBank bank, byte index, out byte value)
    {
        value = 0xff;
        switch (bank)
        {
            case RegisterBank.Sequencer:
                index &= IndexedByPosition;
                if (index < FirstSequencer) return false;
                value = index switch
                {
                    SequencerCursorX => (byte)(_cursorX >> 3),
                    SequencerCursorY => (byte)(_cursorY >> 3),
                    _ => (byte)s_sequencer.Read(this, (uint)index - FirstSequencer, 1),
                };
                return true;
            case RegisterBank.Crtc:
                index &= 0x3f;
                if (index < FirstCrtc) return false;
                value = (byte)s_crtc.Read(this, (uint)index - FirstCrtc, 1);
                return true;
            default:
                index &= 0x3f;
                switch (index)
                {
                    case 0 or 1: value = _graphics[index]; return true;
                    case 5: value = (byte)((Vga.Graphics[5] & ~7) | _graphics[5]); return true;
                    case < FirstGraphics: return false;
                }

                value = (byte)s_graphics.Read(this, (uint)index - FirstGraphics, 1);
                return true;
        }
    }

    public bool TryWrite(RegisterBank bank, byte index, byte value)
    {
        switch (bank)
        {
            case RegisterBank.Sequencer: return TryWriteSequencer(index, value);
            case RegisterBank.Crtc:
                index &= 0x3f;
                if (index < FirstCrtc) return false;
                s_crtc.Write(this, (uint)index - FirstCrtc, 1, value);
                return true;
            default: return TryWriteGraphics((byte)(index & 0x3f), value);
        }
    }

    /// <summary>After four reads of the PEL mask in a row the next access is to the hidden DAC register.</summary>
    public bool TryReadPelMask(out byte value)
    {
        value = _hiddenDac;
        if (_pelMaskReads < HiddenDacReads)
        {
            _pelMaskReads++;
            return false;
        }

        _pelMaskReads = 0;
        return true;
    }

    public bool TryWritePelMask(byte value)
    {
        var hidden = _pelMaskReads == HiddenDacReads;
        _pelMaskReads = 0;
        if (hidden) _hiddenDac = value;
        return hidden;
    }

    public void PaletteAccessed() => _pelMaskReads = 0;

    /// <summary>The blitter's part of GR31.</summary>
    internal void SetStatus(byte clear, byte set) => _graphics[0x31] = (byte)((_graphics[0x31] & ~clear) | set);

    private static RegisterTable<CirrusRegisters> CrtcTable()
    {
        var table = new RegisterTable<CirrusRegisters>("CL-GD5446 CRT controller", 0x40 - FirstCrtc)
            .Computed(0x22 - FirstCrtc, 1, "CR22 latches", read: static v => v.ReadLatch(), write: static (_, _) => { })
            .Computed(0x24 - FirstCrtc, 1, "CR24 attribute toggle", read: static v => v.Vga.IsAttributeDataNext ? 0x80u : 0, write: static (_, _) => { })
            .Computed(0x26 - FirstCrtc, 1, "CR26 attribute index", read: static v => v.Vga.AttributeIndex, write: static (_, _) => { })
            .Computed(0x27 - FirstCrtc, 1, "CR27 ID", read: static _ => ChipId, write: static (_, _) => { })
            .Reserved(0x1f - FirstCrtc, 3)
            .Reserved(0x23 - FirstCrtc, 1)
            .Reserved(0x25 - FirstCrtc, 1)
            .Reserved(0x28 - FirstCrtc, 9);
        (int Index, string Name)[] stored =
        [
            (0x19, "interlace end"), (0x1a, "miscellaneous control"), (0x1b, "extended display controls"), (0x1c, "sync adjust"), (0x1d, "overlay control"), (0x1e, "digital control"),
            (0x31, "video upscaling horizontal"), (0x32, "video upscaling vertical"), (0x33, "video region 1 size"), (0x34, "video region 2 size"), (0x35, "video size overflow"),
            (0x36, "video region 2 size overflow"), (0x37, "video vertical start"), (0x38, "video vertical end"), (0x39, "video vertical overflow"), (0x3a, "video start low"),
            (0x3b, "video start middle"), (0x3c, "video start high"), (0x3d, "video pitch"), (0x3e, "video control"), (0x3f, "video key"),
        ];
        foreach (var (index, name) in stored) table.Byte(index - FirstCrtc, $"CR{index:X2} {name}", v => ref v._crtc[index]);
        return table.Build();
    }

    private static RegisterTable<CirrusRegisters> GraphicsTable()
    {
        var table = new RegisterTable<CirrusRegisters>("CL-GD5446 graphics controller", 0x40 - FirstGraphics)
            .Reserved(0x0f - FirstGraphics, 1)
            .Byte(0x31 - FirstGraphics, "GR31 BLT start and status", static v => ref v._graphics[0x31], write: static (v, value) => v.WriteStart((byte)value))
            .Byte(0x2a - FirstGraphics, "GR2A BLT destination high", static v => ref v._graphics[0x2a], mask: 0x3f, after: static v => v.AutoStart())
            .Reserved(0x2b - FirstGraphics, 1)
            .Reserved(0x36 - FirstGraphics, 2)
            .Reserved(0x3a - FirstGraphics, 6);
        (int Index, byte Mask, string Name)[] stored =
        [
            (0x09, 0xff, "offset 0"), (0x0a, 0xff, "offset 1"), (0x0b, 0xff, "mode extensions"), (0x0c, 0xff, "colour key"), (0x0d, 0xff, "colour key mask"), (0x0e, 0xff, "power management"),
            (0x10, 0xff, "background byte 1"), (0x11, 0xff, "foreground byte 1"), (0x12, 0xff, "background byte 2"), (0x13, 0xff, "foreground byte 2"), (0x14, 0xff, "background byte 3"),
            (0x15, 0xff, "foreground byte 3"), (0x16, 0xff, "active display line low"), (0x17, 0xff, "active display line high"), (0x18, 0xff, "extended DRAM control"), (0x19, 0xff, "GPIO configuration"),
            (0x1a, 0xff, "scratch 4"), (0x1b, 0xff, "scratch 5"), (0x1c, 0xff, "scratch 6"), (0x1d, 0xff, "scratch 7"), (0x1e, 0xff, "scratch 8"), (0x1f, 0xff, "scratch 9"),
            (0x20, 0xff, "BLT width low"), (0x21, 0x1f, "BLT width high"), (0x22, 0xff, "BLT height low"), (0x23, 0x07, "BLT height high"), (0x24, 0xff, "BLT destination pitch low"),
            (0x25, 0x1f, "BLT destination pitch high"), (0x26, 0xff, "BLT source pitch low"), (0x27, 0x1f, "BLT source pitch high"), (0x28, 0xff, "BLT destination low"),
            (0x29, 0xff, "BLT destination middle"), (0x2c, 0xff, "BLT source low"), (0x2d, 0xff, "BLT source middle"), (0x2e, 0x3f, "BLT source high"), (0x2f, 0xff, "BLT left clip"),
            (0x30, 0xff, "BLT mode"), (0x32, 0xff, "BLT raster operation"), (0x33, 0xff, "BLT mode extensions"), (0x34, 0xff, "transparent colour low"), (0x35, 0xff, "transparent colour high"),
            (0x38, 0xff, "transparent colour mask low"), (0x39, 0xff, "transparent colour mask high"),
        ];
        foreach (var (index, mask, name) in stored) table.Byte(index - FirstGraphics, $"GR{index:X2} {name}", v => ref v._graphics[index], mask: mask);
        return table.Build();
    }

    private bool TryWriteSequencer(byte index, byte value)
    {
        // The position of the cursor has its low bits in bits 7:5 of the index.
        var low = index >> 5;
        index &= IndexedByPosition;
        switch (index)
        {
            case 2 when low == 0: _planeMask = value; return false;
            case < FirstSequencer: return false;
            case SequencerCursorX: _cursorX = (ushort)((value << 3) | low); break;
            case SequencerCursorY: _cursorY = (ushort)((value << 3) | low); break;
            default:
                s_sequencer.Write(this, (uint)index - FirstSequencer, 1, value);
                _changed();
                break;
        }

        return true;
    }

    private bool TryWriteGraphics(byte index, byte value)
    {
        switch (index)
        {
            case 0 or 1: _graphics[index] = value; return false;
            case 5:
                _graphics[5] = (byte)(value & 7);
                _changed();
                return false;
            case < FirstGraphics: return false;
        }

        s_graphics.Write(this, (uint)index - FirstGraphics, 1, value);
        _changed();
        return true;
    }

    /// <summary>Bit 2 resets the blitter, a change of bit 1 from 0 to 1 starts it.</summary>
    private void WriteStart(byte value)
    {
        var old = _graphics[0x31];
        _graphics[0x31] = (byte)((value & ~StatusBits) | (old & StatusBits));
        if ((value & CirrusBlitter.Reset) != 0) _abort();
        else if ((value & ~old & CirrusBlitter.Start) != 0) _start();
    }

    private void AutoStart()
    {
        if ((_graphics[0x31] & CirrusBlitter.AutoStart) != 0) _start();
    }

    /// <summary>What the chip drives onto the two open wires of DDC is what it sees there: nobody answers.</summary>
    private uint ReadLines()
    {
        var value = (uint)_sequencer[8];
        return (value & ~0x84u) | ((value & 1) << 2) | ((value & 2) << 6);
    }

    private uint ReadLatch() => ((_planes?.Latches ?? 0) >> (8 * Vga.Graphics[4])) & 0xff;

    public void ResetAll()
    {
        Vga.Reset();
        s_sequencer.Reset(this);
        s_crtc.Reset(this);
        s_graphics.Reset(this);
        Array.Clear(_palette);
        _graphics[0] = _graphics[1] = _graphics[5] = 0;
        _cursorY = 0;
        _planeMask = _hiddenDac = _pelMaskReads = 0;
    }

    public void State(StateVisitor s)
    {
        s.Child("vga", Vga);
        s.Registers(s_sequencer, this);
        s.Registers(s_crtc, this);
        s.Registers(s_graphics, this);
        s.U16("SR11 cursor Y", ref _cursorY);
        s.U8("SR2 pixel mask", ref _planeMask);
        s.U8("GR0 background", ref _graphics[0]);
        s.U8("GR1 foreground", ref _graphics[1]);
        s.U8("GR5 write mode", ref _graphics[5]);
        s.Bytes("palette", _palette);
        s.U8("hidden-dac", ref _hiddenDac);
        s.U8("hidden-dac.reads", ref _pelMaskReads);
        if (s.IsLoading && (_pelMaskReads > HiddenDacReads || _graphics[5] > 7)) s.Fail("hidden-dac.reads", "a value is out of range");
    }
}
