using System;
using XenDM.Core.Io;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// The registers of an IBM VGA: ports 3c0-3cf, and the CRT controller with status and feature control at 3b4/3b5/3ba or 3d4/3d5/3da, as bit 0
/// of the miscellaneous output register says. No interrupt. Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem;
/// INMOS IMS G171 for the palette.
/// Deviations: the palette registers can be written while they are on the screen (type 2 subsystems allow it too); the vertical interrupt
/// does not come, and CRT controller 10 and 11 are readable whatever bit 7 of 3 says. The beam follows guest time with the programmed
/// timing; where that is none that a monitor could show, it is that of 400 lines at 70 Hz, so that a program that waits for the beam goes on.
/// </summary>
public sealed class VgaRegisters : IStateful
{
    private const ushort CommonPorts = 0x3c0;
    private const ushort MonoCrtc = 0x3b4;
    private const ushort MonoStatus = 0x3ba;
    private const ushort ColourCrtc = 0x3d4;
    private const ushort ColourStatus = 0x3da;

    /// <summary>Bytes of the window 3c0-3df, in which the adapter's registers lie with the colour addresses.</summary>
    public const int ColourWindowBytes = 0x20;

    private const byte MiscColour = 0x01;
    private const byte MiscRamEnable = 0x02;
    private const byte ClockingOff = 0x20;
    private const byte AttributePaletteOnScreen = 0x20;
    private const byte CrtcProtect = 0x80;
    private const byte CrtcLineCompare8 = 0x10;
    private const byte StatusSwitchSense = 0x10;
    private const byte StatusDisplayOff = 0x01;
    private const byte StatusRetrace = 0x08;
    private const byte DacReads = 0x03;
    private const byte CrtcIndexMask = 0x3f;
    private const long ShortestFrame = 4_000_000;
    private const long LongestFrame = 50_000_000;

    private static readonly RegisterTable<VgaRegisters> s_sequencer = new RegisterTable<VgaRegisters>("VGA sequencer", 5)
        .Byte(0, "SR0 reset", static v => ref v._sequencer[0], mask: 0x03)
        .Byte(1, "SR1 clocking mode", static v => ref v._sequencer[1], mask: 0x3d)
        .Byte(2, "SR2 map mask", static v => ref v._sequencer[2], mask: 0x0f)
        .Byte(3, "SR3 character map", static v => ref v._sequencer[3], mask: 0x3f)
        .Byte(4, "SR4 memory mode", static v => ref v._sequencer[4], mask: 0x0e)
        .Build();

    private static readonly RegisterTable<VgaRegisters> s_crtc = new RegisterTable<VgaRegisters>("VGA CRT controller", 25)
        .Byte(0x00, "CR00 horizontal total", static v => ref v._crtc[0x00])
        .Byte(0x01, "CR01 horizontal display end", static v => ref v._crtc[0x01])
        .Byte(0x02, "CR02 horizontal blank start", static v => ref v._crtc[0x02])
        .Byte(0x03, "CR03 horizontal blank end", static v => ref v._crtc[0x03])
        .Byte(0x04, "CR04 horizontal retrace start", static v => ref v._crtc[0x04])
        .Byte(0x05, "CR05 horizontal retrace end", static v => ref v._crtc[0x05])
        .Byte(0x06, "CR06 vertical total", static v => ref v._crtc[0x06])
        .Byte(0x07, "CR07 overflow", static v => ref v._crtc[0x07])
        .Byte(0x08, "CR08 preset row scan", static v => ref v._crtc[0x08], mask: 0x7f)
        .Byte(0x09, "CR09 maximum scan line", static v => ref v._crtc[0x09])
        .Byte(0x0a, "CR0A cursor start", static v => ref v._crtc[0x0a], mask: 0x3f)
        .Byte(0x0b, "CR0B cursor end", static v => ref v._crtc[0x0b], mask: 0x7f)
        .Byte(0x0c, "CR0C start address high", static v => ref v._crtc[0x0c])
        .Byte(0x0d, "CR0D start address low", static v => ref v._crtc[0x0d])
        .Byte(0x0e, "CR0E cursor location high", static v => ref v._crtc[0x0e])
        .Byte(0x0f, "CR0F cursor location low", static v => ref v._crtc[0x0f])
        .Byte(0x10, "CR10 vertical retrace start", static v => ref v._crtc[0x10])
        .Byte(0x11, "CR11 vertical retrace end", static v => ref v._crtc[0x11])
        .Byte(0x12, "CR12 vertical display end", static v => ref v._crtc[0x12])
        .Byte(0x13, "CR13 offset", static v => ref v._crtc[0x13])
        .Byte(0x14, "CR14 underline location", static v => ref v._crtc[0x14], mask: 0x7f)
        .Byte(0x15, "CR15 vertical blank start", static v => ref v._crtc[0x15])
        .Byte(0x16, "CR16 vertical blank end", static v => ref v._crtc[0x16])
        .Byte(0x17, "CR17 mode control", static v => ref v._crtc[0x17], mask: 0xef)
        .Byte(0x18, "CR18 line compare", static v => ref v._crtc[0x18])
        .Build();

    private static readonly RegisterTable<VgaRegisters> s_graphics = new RegisterTable<VgaRegisters>("VGA graphics controller", 9)
        .Byte(0, "GR0 set/reset", static v => ref v._graphics[0], mask: 0x0f)
        .Byte(1, "GR1 enable set/reset", static v => ref v._graphics[1], mask: 0x0f)
        .Byte(2, "GR2 colour compare", static v => ref v._graphics[2], mask: 0x0f)
        .Byte(3, "GR3 data rotate", static v => ref v._graphics[3], mask: 0x1f)
        .Byte(4, "GR4 read map select", static v => ref v._graphics[4], mask: 0x03)
        .Byte(5, "GR5 mode", static v => ref v._graphics[5], mask: 0x7b)
        .Byte(6, "GR6 miscellaneous", static v => ref v._graphics[6], mask: 0x0f)
        .Byte(7, "GR7 colour don't care", static v => ref v._graphics[7], mask: 0x0f)
        .Byte(8, "GR8 bit mask", static v => ref v._graphics[8])
        .Build();

    private static readonly RegisterTable<VgaRegisters> s_attribute = AttributeTable();

    private static readonly RegisterTable<VgaRegisters> s_common = new RegisterTable<VgaRegisters>("VGA", 16)
        .Byte(0x0, "AR index", static v => ref v._attributeIndex, write: static (v, value) => v.WriteAttribute((byte)value))
        .Computed(0x1, 1, "AR data", read: static v => (uint)s_attribute.Read(v, (uint)v._attributeIndex & 0x1f, 1))
        .Byte(0x2, "MISC", static v => ref v._misc, read: static _ => StatusSwitchSense, write: static (v, value) => v.WriteMisc((byte)value))
        .Byte(0x3, "VSE", static v => ref v._enable, reset: 1, mask: 0x01)
        .Byte(0x4, "SR index", static v => ref v._sequencerIndex, write: static (v, value) => v._sequencerIndex = (byte)(value & v.SequencerIndexMask))
        .Computed(0x5, 1, "SR data", read: static v => v.Read(RegisterBank.Sequencer), write: static (v, value) => v.Write(RegisterBank.Sequencer, (byte)value))
        .Byte(0x6, "PELMASK", static v => ref v._pelMask, reset: 0xff, read: static v => v.ReadPelMask(), write: static (v, value) => v.WritePelMask((byte)value))
        .Computed(0x7, 1, "PELREAD", read: static v => v.ReadDacState(), write: static (v, value) => v.StartDacRead((byte)value))
        .Byte(0x8, "PELADDR", static v => ref v._dacIndex, read: static v => v.ReadDacIndex(), write: static (v, value) => v.StartDacWrite((byte)value))
        .Computed(0x9, 1, "PELDATA", read: static v => v.ReadDac(), write: static (v, value) => v.WriteDac((byte)value))
        .Byte(0xa, "FCR", static v => ref v._feature, mask: 0)
        .Reserved(0xb, 1, 0xff)
        .Computed(0xc, 1, "MISC read", read: static v => v._misc, write: static (_, _) => { })
        .Reserved(0xd, 1, 0xff)
        .Byte(0xe, "GR index", static v => ref v._graphicsIndex, write: static (v, value) => v._graphicsIndex = (byte)(value & v.GraphicsIndexMask))
        .Computed(0xf, 1, "GR data", read: static v => v.Read(RegisterBank.Graphics), write: static (v, value) => v.Write(RegisterBank.Graphics, (byte)value))
        .Build();

    private static readonly RegisterTable<VgaRegisters> s_crtcPorts = new RegisterTable<VgaRegisters>("VGA CRTC", 2)
        .Byte(0, "CR index", static v => ref v._crtcIndex, mask: CrtcIndexMask)
        .Computed(1, 1, "CR data", read: static v => v.Read(RegisterBank.Crtc), write: static (v, value) => v.Write(RegisterBank.Crtc, (byte)value))
        .Build();

    private readonly IVmClock _clock;
    private readonly ChangeBell _bell;
    private readonly IVgaExtension? _extension;
    private readonly byte[] _sequencer = new byte[5];
    private readonly byte[] _crtc = new byte[25];
    private readonly byte[] _graphics = new byte[9];
    private readonly byte[] _attribute = new byte[21];

    /// <summary>Red, green, blue of each palette entry, 8 bits each whatever the width of accesses is.</summary>
    private readonly byte[] _dac = new byte[768];
    private readonly byte[] _dacPixel = new byte[3];
    private byte _misc;
    private byte _feature;
    private byte _enable;
    private byte _sequencerIndex;
    private byte _crtcIndex;
    private byte _graphicsIndex;
    private byte _attributeIndex;
    private byte _pelMask;
    private byte _dacIndex;
    private byte _dacStep;
    private bool _dacReads;
    private bool _attributeDataNext;

    /// <param name="clock">Moves the beam.</param>
    /// <param name="extension">What the adapter adds to the registers; null for nothing.</param>
    internal VgaRegisters(IVmClock clock, ChangeBell bell, IVgaExtension? extension = null)
    {
        _clock = clock;
        _bell = bell;
        _extension = extension;
    }

    /// <summary>Palette accesses carry 8 bits a colour instead of 6.</summary>
    [Glue("follows the VBE enable register")]
    internal bool WideDac { get; set; }

    /// <summary>SR0 to SR4.</summary>
    internal ReadOnlySpan<byte> Sequencer => _sequencer;

    /// <summary>CR00 to CR18.</summary>
    internal ReadOnlySpan<byte> Crtc => _crtc;

    /// <summary>GR0 to GR8.</summary>
    internal ReadOnlySpan<byte> Graphics => _graphics;

    /// <summary>AR00 to AR14.</summary>
    internal ReadOnlySpan<byte> Attribute => _attribute;

    /// <summary>The CPU reaches video memory.</summary>
    internal bool RamEnabled => (_misc & MiscRamEnable) != 0;

    /// <summary>Index of the attribute controller with the bit that gives the palette to the screen.</summary>
    internal byte AttributeIndex => _attributeIndex;

    /// <summary>The next write to the attribute controller is data, not an index.</summary>
    internal bool IsAttributeDataNext => _attributeDataNext;

    /// <summary>The palette is given to the screen; without it the screen is dark.</summary>
    internal bool PaletteOnScreen => (_attributeIndex & AttributePaletteOnScreen) != 0;

    /// <summary>The screen is dark so that the CPU has memory for itself (SR1 bit 5).</summary>
    internal bool IsScreenOff => (_sequencer[1] & ClockingOff) != 0;

    /// <summary>Scan lines from the first to the last that is shown, 1 to 1024.</summary>
    internal int DisplayLines => (_crtc[0x12] | Overflow(1, 8) | Overflow(6, 9)) + 1;

    /// <summary>The scan line after which the screen goes on at address 0.</summary>
    internal int LineCompare => _crtc[0x18] | Overflow(4, 8) | ((_crtc[0x09] & 0x40) << 3);

    /// <summary>The colour of a palette entry, after the PEL mask, as 00RRGGBB.</summary>
    internal uint Colour(int entry)
    {
        var at = 3 * (entry & _pelMask);
        return ((uint)_dac[at] << 16) | ((uint)_dac[at + 1] << 8) | _dac[at + 2];
    }

    /// <summary>The palette entry of a colour of 4 bits, by the attribute controller.</summary>
    internal int PaletteEntry(int colour)
    {
        var entry = _attribute[colour & 0x0f];
        var select = _attribute[0x14];

        // AR10 bit 7: bits 5:4 come from the colour select register like bits 7:6.
        return (_attribute[0x10] & 0x80) != 0 ? (entry & 0x0f) | ((select & 0x0f) << 4) : (entry & 0x3f) | ((select & 0x0c) << 4);
    }

    internal RegionMapping[] MapPorts(AddressSpace ports) =>
    [
        ports.Map("vga", CommonPorts, (ulong)s_common.Size, new TableRegion<VgaRegisters>(s_common, this)),
        ports.Map("vga crtc mono", MonoCrtc, 2, new CrtcPorts(this, colour: false)),
        ports.Map("vga status mono", MonoStatus, 1, new StatusPort(this, colour: false)),
        ports.Map("vga crtc colour", ColourCrtc, 2, new CrtcPorts(this, colour: true)),
        ports.Map("vga status colour", ColourStatus, 1, new StatusPort(this, colour: true)),
    ];

    /// <summary>A byte of the ports 3c0-3df, whatever the miscellaneous output register says.</summary>
    /// <param name="offset">0 to 1f.</param>
    internal byte ReadWindow(int offset) => offset switch
    {
        < 0x10 => (byte)s_common.Read(this, (uint)offset, 1),
        0x14 or 0x15 => (byte)s_crtcPorts.Read(this, (uint)offset - 0x14, 1),
        0x1a => ReadStatus(),
        _ => 0xff,
    };

    /// <inheritdoc cref="ReadWindow"/>
    internal void WriteWindow(int offset, byte value)
    {
        switch (offset)
        {
            case < 0x10: s_common.Write(this, (uint)offset, 1, value); break;
            case 0x14 or 0x15: s_crtcPorts.Write(this, (uint)offset - 0x14, 1, value); break;
            case 0x1a: WriteFeature(value); break;
        }
    }

    private static RegisterTable<VgaRegisters> AttributeTable()
    {
        var table = new RegisterTable<VgaRegisters>("VGA attribute controller", 21);
        for (var n = 0; n < 16; n++)
        {
            var entry = n;
            table.Byte(n, $"AR{n:X2} palette", v => ref v._attribute[entry], mask: 0x3f);
        }

        return table
            .Byte(0x10, "AR10 mode control", static v => ref v._attribute[0x10], mask: 0xef)
            .Byte(0x11, "AR11 overscan colour", static v => ref v._attribute[0x11])
            .Byte(0x12, "AR12 colour plane enable", static v => ref v._attribute[0x12], mask: 0x3f)
            .Byte(0x13, "AR13 horizontal panning", static v => ref v._attribute[0x13], mask: 0x0f)
            .Byte(0x14, "AR14 colour select", static v => ref v._attribute[0x14], mask: 0x0f)
            .Build();
    }

    private int Overflow(int from, int to) => ((_crtc[0x07] >> from) & 1) << to;

    private void WriteMisc(byte value)
    {
        _misc = (byte)(value & 0xef);
        _bell.Ring();
    }

    private void WriteFeature(byte value) => _feature = (byte)(value & 0x0b);

    private int SequencerIndexMask => _extension is null ? 0x07 : 0xff;

    private int GraphicsIndexMask => _extension is null ? 0x0f : 0x3f;

    private uint Read(RegisterBank bank)
    {
        var (index, table) = Selected(bank);
        return _extension is not null && _extension.TryRead(bank, index, out var value) ? value : (uint)table.Read(this, index, 1);
    }

    private void Write(RegisterBank bank, byte value)
    {
        var (index, table) = Selected(bank);
        if (_extension is null || !_extension.TryWrite(bank, index, value))
        {
            if (bank == RegisterBank.Crtc) WriteCrtc(value);
            else table.Write(this, index, 1, value);
        }

        _bell.Ring();
    }

    private (byte Index, RegisterTable<VgaRegisters> Table) Selected(RegisterBank bank) => bank switch
    {
        RegisterBank.Sequencer => (_sequencerIndex, s_sequencer),
        RegisterBank.Crtc => (_crtcIndex, s_crtc),
        _ => (_graphicsIndex, s_graphics),
    };

    /// <summary>While CR11 protects CR00 to CR07, only bit 8 of line compare in CR07 can be written.</summary>
    private void WriteCrtc(byte value)
    {
        if (_crtcIndex < 8 && (_crtc[0x11] & CrtcProtect) != 0)
        {
            if (_crtcIndex != 7) return;
            value = (byte)((_crtc[7] & ~CrtcLineCompare8) | (value & CrtcLineCompare8));
        }

        s_crtc.Write(this, _crtcIndex, 1, value);
    }

    /// <summary>Index and data go to the same port by turns; reading the status port makes the next one an index.</summary>
    private void WriteAttribute(byte value)
    {
        if (_attributeDataNext) s_attribute.Write(this, (uint)_attributeIndex & 0x1f, 1, value);
        else _attributeIndex = (byte)(value & 0x3f);
        _attributeDataNext = !_attributeDataNext;
        _bell.Ring();
    }

    private byte ReadPelMask() => _extension is not null && _extension.TryReadPelMask(out var value) ? value : _pelMask;

    private void WritePelMask(byte value)
    {
        if (_extension is null || !_extension.TryWritePelMask(value)) _pelMask = value;
        _bell.Ring();
    }

    private uint ReadDacState()
    {
        _extension?.PaletteAccessed();
        return _dacReads ? DacReads : 0u;
    }

    private uint ReadDacIndex()
    {
        _extension?.PaletteAccessed();
        return _dacIndex;
    }

    private void StartDacWrite(byte index)
    {
        _extension?.PaletteAccessed();
        _dacIndex = index;
        _dacReads = false;
        _dacStep = 0;
    }

    /// <summary>The G171 fetches the entry at once and steps on.</summary>
    private void StartDacRead(byte index)
    {
        _extension?.PaletteAccessed();
        _dacIndex = index;
        _dacReads = true;
        FetchDac();
    }

    /// <summary>The entry that the index says, after which it says the next one.</summary>
    private Span<byte> NextEntry()
    {
        Span<byte> entries = _extension is null ? default : _extension.OtherPalette;
        if (entries.IsEmpty) entries = _dac;
        return entries.Slice(3 * (_dacIndex++ & ((entries.Length / 3) - 1)), 3);
    }

    private void FetchDac()
    {
        NextEntry().CopyTo(_dacPixel);
        _dacStep = 0;
    }

    private byte ReadDac()
    {
        _extension?.PaletteAccessed();
        var value = _dacPixel[Math.Min(_dacStep, (byte)2)];
        if (++_dacStep > 2) FetchDac();
        return WideDac ? value : (byte)(value >> 2);
    }

    private void WriteDac(byte value)
    {
        _extension?.PaletteAccessed();
        _dacPixel[Math.Min(_dacStep, (byte)2)] = WideDac ? value : (byte)((value << 2) | ((value >> 4) & 3));
        if (++_dacStep <= 2) return;
        _dacStep = 0;
        _dacPixel.CopyTo(NextEntry());
        _bell.Ring();
    }

    private byte ReadStatus()
    {
        _attributeDataNext = false;
        return BeamStatus();
    }

    /// <summary>Where the beam is: the programmed timing repeats over guest time.</summary>
    private byte BeamStatus()
    {
        var characters = _crtc[0] + 5;
        var dots = characters * ((_sequencer[1] & 1) != 0 ? 8 : 9) * ((_sequencer[1] & 8) != 0 ? 2 : 1);
        var select = (_misc >> 2) & 3;
        var lineTime = dots * 1_000_000L / (_extension?.DotClock(select) ?? (select == 1 ? 28_322 : 25_175));
        var lines = (_crtc[0x06] | Overflow(0, 8) | Overflow(5, 9)) + 2;
        int shownCharacters = _crtc[1] + 1, shownLines = DisplayLines;
        var retrace = _crtc[0x10] | Overflow(2, 8) | Overflow(7, 9);
        var retraceLines = ((_crtc[0x11] - retrace - 1) & 0x0f) + 1;
        if (lineTime * lines is < ShortestFrame or > LongestFrame)
        {
            (characters, shownCharacters, lineTime) = (100, 80, 31_777);
            (lines, shownLines, retrace, retraceLines) = (449, 400, 412, 2);
        }

        // Both states of both bits come in every frame, whatever was programmed.
        if (retrace >= lines) retrace = lines - 2;
        var inFrame = _clock.Now % (lineTime * lines);
        var line = (int)(inFrame / lineTime);
        var character = (int)(inFrame % lineTime * characters / lineTime);
        if (line >= retrace && line < retrace + retraceLines) return StatusDisplayOff | StatusRetrace;
        return line >= Math.Min(shownLines, lines - 1) || character >= Math.Min(shownCharacters, characters - 1) ? StatusDisplayOff : (byte)0;
    }

    private bool Answers(bool colour) => (_misc & MiscColour) != 0 == colour;

    /// <summary>The CRT controller at its mono or its colour address; only one of them answers.</summary>
    private sealed class CrtcPorts(VgaRegisters vga, bool colour) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => vga.Answers(colour) ? s_crtcPorts.Read(vga, offset, size) : ulong.MaxValue;

        public void Write(ulong offset, int size, ulong value)
        {
            if (vga.Answers(colour)) s_crtcPorts.Write(vga, offset, size, value);
        }
    }

    /// <summary>Input status 1 and feature control.</summary>
    private sealed class StatusPort(VgaRegisters vga, bool colour) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => vga.Answers(colour) ? vga.ReadStatus() : ulong.MaxValue;

        public void Write(ulong offset, int size, ulong value)
        {
            if (vga.Answers(colour)) vga.WriteFeature((byte)value);
        }
    }

    internal void Reset()
    {
        s_common.Reset(this);
        s_crtcPorts.Reset(this);
        s_sequencer.Reset(this);
        s_crtc.Reset(this);
        s_graphics.Reset(this);
        s_attribute.Reset(this);
        Array.Clear(_dac);
        Array.Clear(_dacPixel);
        _dacStep = 0;
        _dacReads = _attributeDataNext = false;
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_common, this);
        s.Registers(s_crtcPorts, this);
        s.Registers(s_sequencer, this);
        s.Registers(s_crtc, this);
        s.Registers(s_graphics, this);
        s.Registers(s_attribute, this);
        s.Bytes("dac", _dac);
        s.Bytes("dac.pixel", _dacPixel);
        s.U8("dac.step", ref _dacStep);
        s.Bool("dac.reads", ref _dacReads);
        s.Bool("attribute.data-next", ref _attributeDataNext);
        if (s.IsLoading && (_dacStep > 2 || _sequencerIndex > SequencerIndexMask || _crtcIndex > CrtcIndexMask || _graphicsIndex > GraphicsIndexMask)) s.Fail("dac.step", "an index is out of range");
    }
}
