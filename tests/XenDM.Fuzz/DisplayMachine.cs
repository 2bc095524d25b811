using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using XenDM.Core.Display;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Cirrus;
using XenDM.Devices.Display.Vga;
using XenDM.Testing;

namespace XenDM.Fuzz;

/// <summary>What one step at a display adapter does.</summary>
internal enum DisplayKind
{
    Access,
    Mode,
    Register,
    Blit,
    Feed,
    Cursor,
    Palette,
    Place,
    Time,
    Look,
    Viewers,
    SaveRestore,
    Reset,
}

/// <summary>One step, with all that it needs to be done again.</summary>
internal readonly record struct DisplayStep(DisplayKind Kind, IoRequest Request, int Number)
{
    public override string ToString() => Kind is DisplayKind.Access
        ? $"{Kind} {Request.Space} {(Request.IsRead ? "read" : "write")} {Request.Address:x}/{Request.Size} x{Request.Count} ptr={Request.DataIsPointer} down={Request.Descending} data={Request.Data:x}"
        : $"{Kind} {Number}";
}

/// <summary>
/// A display adapter whose memory the home maps when it is shown, the guest that does anything to it, and those who look. What must hold: a
/// picture that is brought up to date is the one that is drawn as a whole; what changed in it was told, by a call before and as damage; memory
/// that is shown as bytes reads as bytes.
/// </summary>
internal sealed class DisplayMachine
{
    public const string StdVga = "stdvga", Cirrus = "cirrus";
    private const int RamBytes = 1 << 20, VideoBytes = 4 << 20, Slot = 2;
    private const uint Linear = 0xe000_0000, Registers = 0xf000_0000, Window = 0xa_0000;
    private const ushort SequencerPort = 0x3c4, CrtcPort = 0x3d4, GraphicsPort = 0x3ce;

    /// <summary>A picture that is larger is looked at only now and then, so that a run has an end.</summary>
    private const int LargePixels = 1 << 20;

    private readonly Random _random;
    private readonly bool _isCirrus;
    private readonly TestBoard _host = new(RamBytes);
    private readonly MappedMemory _memory = new(VideoBytes);
    private readonly VgaAdapter _chip;
    private readonly ScreenHub _hub = new();
    private readonly List<ScreenViewer> _viewers = [];
    private readonly Frame _whole = new(), _before = new();
    private readonly Damage _wholeDamage = new();
    private readonly List<PictureArea> _areas = [];
    private readonly bool[] _covered = new bool[(Frame.MaxWidth / Damage.TileSide) * (Frame.MaxHeight / Damage.TileSide)];
    private ulong _linear = Linear, _registers = Registers;
    private bool _tells, _rung;

    /// <summary>Steps for which the mode stays, and memory alone is written, so that looks find little that is new.</summary>
    private int _calm;

    public DisplayMachine(int seed, string adapter)
    {
        _random = new Random(seed);
        _isCirrus = adapter == Cirrus;
        _chip = _isCirrus ? new CirrusVga("vga", _memory, default, _host.Ram, _host.Clock) : new StdVga("vga", _memory, default, _host.Ram, _host.Clock);
        _host.Pci.Add(_chip, Slot);
        _chip.Reset(ResetKind.Cold);
        _random.NextBytes(_host.Ram.Bytes);
        _hub.Add(_chip);
        _viewers.Add(_hub.Open());
        PlaceBars(0);
    }

    /// <summary>Pictures that were looked at.</summary>
    public long Looks { get; private set; }

    /// <summary>Pixels of them that were others than before.</summary>
    public long Changes { get; private set; }

    public long Blits { get; private set; }

    public int Saves { get; private set; }

    public ulong Hash() => StateHasher.Hash([_chip]);

    public DisplayStep Choose()
    {
        if (_calm > 0)
        {
            _calm--;
            var what = _random.Next(100) switch
            {
                < 4 => DisplayKind.Look,
                < 12 when _isCirrus => DisplayKind.Blit,
                < 30 when _isCirrus => DisplayKind.Feed,
                < 32 => DisplayKind.Cursor,
                < 33 => DisplayKind.Time,
                _ => DisplayKind.Access,
            };
            if (what == DisplayKind.Cursor && !_isCirrus) what = DisplayKind.Access;
            return new DisplayStep(what, what == DisplayKind.Access ? RandomWrite() : default, _random.Next());
        }

        var dice = _random.Next(10_000);
        var kind = dice switch
        {
            < 5000 => DisplayKind.Access,
            < 5060 => DisplayKind.Mode,
            < 7400 => DisplayKind.Register,
            < 8500 => _isCirrus ? DisplayKind.Blit : DisplayKind.Register,
            < 9200 => _isCirrus ? DisplayKind.Feed : DisplayKind.Access,
            < 9400 => _isCirrus ? DisplayKind.Cursor : DisplayKind.Register,
            < 9750 => DisplayKind.Palette,
            < 9800 => DisplayKind.Place,
            < 9940 => DisplayKind.Time,
            < 9975 => DisplayKind.Look,
            < 9990 => DisplayKind.Viewers,
            < 9991 => DisplayKind.SaveRestore,
            < 9992 => DisplayKind.Reset,
            _ => DisplayKind.Register,
        };
        return new DisplayStep(kind, kind == DisplayKind.Access ? RandomAccess() : default, _random.Next());
    }

    public void Do(in DisplayStep step)
    {
        // The kind that comes most often needs no numbers.
        if (step.Kind == DisplayKind.Access)
        {
            Access(step.Request);
            return;
        }

        var random = new Random(step.Number);
        switch (step.Kind)
        {
            case DisplayKind.Mode:
                SetMode(random);
                _calm = random.Next(2) * random.Next(200);
                break;
            case DisplayKind.Register: SetRegister(random); break;
            case DisplayKind.Blit: Blit(random); break;
            case DisplayKind.Feed: Feed(random); break;
            case DisplayKind.Cursor: SetCursor(random); break;
            case DisplayKind.Palette: SetPalette(random); break;
            case DisplayKind.Place: PlaceBars(step.Number); break;
            case DisplayKind.Time: _host.Advance(random.Next(1, 500_000_000)); break;
            case DisplayKind.Look: Look(random); break;
            case DisplayKind.Viewers: ChangeViewers(random); break;
            case DisplayKind.SaveRestore: SaveRestore(); break;
            default:
                _chip.Reset(random.Next(2) == 0 ? ResetKind.Cold : ResetKind.Warm);
                PlaceBars(0);
                SetMode(random);
                break;
        }
    }

    private IoRequest RandomAccess()
    {
        var (space, address) = _random.Next(10) switch
        {
            0 or 1 => (IoSpace.Port, 0x3b0ul + (ulong)_random.Next(0x30)),
            2 => (IoSpace.Port, 0x1ceul + (ulong)_random.Next(4)),
            3 or 4 or 5 => (IoSpace.Memory, Window + (ulong)_random.Next(0x2_0000)),
            6 => (IoSpace.Memory, _registers + (ulong)_random.Next(_random.Next(3) == 0 ? 0x1000 : 0x700)),
            7 => (IoSpace.Memory, _linear + (ulong)_random.Next(_isCirrus ? 32 << 20 : VideoBytes)),
            8 => (IoSpace.Memory, _linear + (ulong)_random.Next(VideoBytes / 8)),
            _ => (IoSpace.PciConfig, ((ulong)Slot << 19) | (uint)(_random.Next(40) == 0 ? _random.Next(260) : 0x40 + _random.Next(0xc0))),
        };
        var request = new IoRequest { Space = space, Address = address, IsRead = _random.Next(3) == 0, Size = 1u << _random.Next(space == IoSpace.Memory ? 4 : 3), Count = 1, Data = (ulong)_random.NextInt64() };
        if (_random.Next(3) == 0) request.Data = _random.Next(2) == 0 ? 0 : ulong.MaxValue;
        if (_random.Next(8) != 0 || space == IoSpace.PciConfig) return request;
        request.DataIsPointer = true;
        request.Count = (uint)_random.Next(1, 300);
        request.Data = (ulong)_random.NextInt64(RamBytes + 8192);
        request.Descending = _random.Next(4) == 0;
        return request;
    }

    /// <summary>A write to memory that the screen may show.</summary>
    private IoRequest RandomWrite() => new()
    {
        Space = IoSpace.Memory,
        Address = _random.Next(3) == 0 ? _linear + (ulong)_random.Next(VideoBytes / 8) : Window + (ulong)_random.Next(0x2_0000),
        Size = 1u << _random.Next(4),
        Count = 1,
        Data = (ulong)_random.NextInt64(),
    };

    /// <summary>Where the home maps memory the chip does not learn of an access, and has to answer as if it had been asked.</summary>
    private void Access(IoRequest request)
    {
        if (request.Space != IoSpace.Memory || request.Count != 1 || request.DataIsPointer || _memory.ShownAt is not { } at || request.Address < at || request.Address + request.Size > at + VideoBytes)
        {
            _host.Io.Dispatch(ref request);
            return;
        }

        var place = (int)(request.Address - at);
        Span<byte> bytes = stackalloc byte[8];
        if (request.IsRead)
        {
            _memory.Bytes.Slice(place, (int)request.Size).CopyTo(bytes);
            var answer = _host.Memory.Read(request.Address, (int)request.Size);
            Check(answer == BinaryPrimitives.ReadUInt64LittleEndian(bytes), $"shown memory at {place:x} reads as {answer:x}");
            return;
        }

        BinaryPrimitives.WriteUInt64LittleEndian(bytes, request.Data);
        _memory.GuestWrites(place, bytes[..(int)request.Size]);
    }

    private void Out(ushort port, int value) => _host.Out8(port, value);

    private void Indexed(ushort port, int index, int value) => _host.Out16(port, ((value & 0xff) << 8) | index);

    private void Attribute(int index, int value)
    {
        _host.In8(0x3da);
        Out(0x3c0, index);
        Out(0x3c0, value);
    }

    private void Vbe(int index, int value)
    {
        _host.Out16(0x1ce, index);
        _host.Out16(0x1cf, value);
    }

    /// <summary>A mode that a driver might set, with something of it wrong now and then.</summary>
    private void SetMode(Random random)
    {
        Vbe(4, 0);
        Indexed(SequencerPort, 6, 0x12);
        Indexed(SequencerPort, 7, 0);
        Out(0x3c2, 0xe3);
        Indexed(CrtcPort, 0x11, 0);
        switch (random.Next(_isCirrus ? 3 : 2))
        {
            case 0: SetVgaMode(random); break;
            case 1 when !_isCirrus: SetVbeMode(random); break;
            default: SetPackedMode(random); break;
        }

        Attribute(0x12, 0x0f);
        if (random.Next(4) == 0) Indexed(CrtcPort, random.Next(0x19), random.Next(256));
        _host.In8(0x3da);
        Out(0x3c0, 0x20);
    }

    private void SetVgaMode(Random random)
    {
        // Columns, lines, lines of a row with bit 7 for doubling, cells from row to row halved, mode control; sequencer 1 and 4; graphics 5 and 6; attribute 10.
        ReadOnlySpan<int> modes =
        [
            79, 400, 0x4f, 40, 0xa3, 0, 2, 0x10, 0x0e, 0x0c,
            39, 350, 0x4d, 20, 0xa3, 9, 2, 0x10, 0x0e, 0x04,
            79, 480, 0x40, 40, 0xe3, 1, 6, 0x00, 0x05, 0x01,
            39, 200, 0xc0, 20, 0xe3, 9, 6, 0x00, 0x05, 0x01,
            79, 400, 0x41, 40, 0xa3, 1, 0x0e, 0x40, 0x05, 0x41,
            79, 480, 0x41, 40, 0xe3, 1, 0x06, 0x40, 0x05, 0x41,
            39, 400, 0xc1, 20, 0xa2, 9, 2, 0x30, 0x0f, 0x01,
            79, 400, 0xc1, 40, 0xc2, 1, 6, 0x00, 0x0d, 0x01,
        ];
        var mode = modes.Slice(10 * random.Next(modes.Length / 10), 10);
        var lines = mode[1] - 1;
        foreach (var (index, value) in (ReadOnlySpan<(int, int)>)[(0, 3), (1, mode[5]), (2, 0x0f), (3, random.Next(4) == 0 ? random.Next(64) : 0), (4, mode[6])]) Indexed(SequencerPort, index, value);
        foreach (var (index, value) in (ReadOnlySpan<(int, int)>)
        [
            (1, mode[0]), (7, 0x10 | ((lines & 0x100) >> 7) | ((lines & 0x200) >> 3)), (8, 0), (9, mode[2]), (0x0a, 0x0d), (0x0b, 0x0e), (0x0c, random.Next(2) * random.Next(256)), (0x0d, 0), (0x0e, 0),
            (0x0f, random.Next(256)), (0x12, lines & 0xff), (0x13, mode[3]), (0x14, 0x1f), (0x17, mode[4]), (0x18, random.Next(3) == 0 ? random.Next(256) : 0xff),
        ]) Indexed(CrtcPort, index, value);
        for (var index = 0; index < 9; index++) Indexed(GraphicsPort, index, index switch { 5 => mode[7], 6 => mode[8], 7 => 0x0f, 8 => 0xff, _ => 0 });
        Attribute(0x10, mode[9]);
        Attribute(0x13, random.Next(3) == 0 ? random.Next(16) : mode[5] == 0 ? 8 : 0);
        Attribute(0x14, 0);
    }

    private void SetVbeMode(Random random)
    {
        ReadOnlySpan<int> depths = [4, 8, 15, 16, 24, 32], widths = [320, 640, 800, 1024];
        var width = widths[random.Next(widths.Length)];
        Vbe(1, width);
        Vbe(2, width * 3 / 4);
        Vbe(3, depths[random.Next(depths.Length)]);
        Vbe(4, 0x41 | (random.Next(2) << 7) | (random.Next(2) << 5));
        if (random.Next(3) == 0) Vbe(6, width + random.Next(200));
        if (random.Next(3) == 0) Vbe(random.Next(2) == 0 ? 8 : 9, random.Next(300));
        if (random.Next(3) == 0) Vbe(5, random.Next(64));
    }

    /// <summary>A mode of the CL-GD5446's own, as its VGA BIOS sets it.</summary>
    private void SetPackedMode(Random random)
    {
        ReadOnlySpan<int> widths = [320, 640, 800, 1024];
        var width = widths[random.Next(widths.Length)];
        int height = width * 3 / 4, depth = random.Next(5);
        var (mode, hidden, bytes) = depth switch { 0 => (0x11, 0x00, 1), 1 => (0x17, 0xf0, 2), 2 => (0x17, 0xe1, 2), 3 => (0x15, 0xe5, 3), _ => (0x19, 0xe5, 4) };
        var pitch = width * bytes / 8;
        foreach (var (index, value) in (ReadOnlySpan<(int, int)>)[(0, 3), (1, 0x21), (2, 0x0f), (3, 0), (4, 0x0e), (7, mode), (0x12, random.Next(8)), (0x13, random.Next(64)), (0x17, random.Next(4) == 0 ? random.Next(256) : 0x20)])
            Indexed(SequencerPort, index, value);
        for (var index = 0; index < 12; index++) Indexed(GraphicsPort, index, index switch { 5 => 0x40, 6 => 0x05, 7 => 0x0f, 8 => 0xff, 0x0b => random.Next(3) == 0 ? random.Next(256) : 0, _ => 0 });
        foreach (var (index, value) in (ReadOnlySpan<(int, int)>)
        [
            (1, (width / 8) - 1), (7, 0x10 | (((height - 1) & 0x100) >> 7) | (((height - 1) & 0x200) >> 3)), (9, 0x40), (0x0c, random.Next(3) == 0 ? random.Next(256) : 0), (0x0d, 0), (0x12, height - 1),
            (0x13, pitch), (0x17, 0xc3), (0x18, 0xff), (0x1a, 0), (0x1b, 0x22 | (pitch >> 8 << 4)), (0x1d, random.Next(4) == 0 ? random.Next(256) : 0),
        ]) Indexed(CrtcPort, index, value);
        HiddenDac(hidden);
    }

    private void HiddenDac(int value)
    {
        Out(0x3c6, 0xff);
        for (var i = 0; i < 4; i++) _host.In8(0x3c6);
        Out(0x3c6, value);
    }

    private void SetRegister(Random random)
    {
        var value = random.Next(5) switch { 0 => 0, 1 => 0xff, _ => random.Next(256) };
        switch (random.Next(12))
        {
            // Most of what the registers of size are given is the size of a screen that a run can afford.
            case 0 or 1: Indexed(SequencerPort, random.Next(_isCirrus ? 0x20 : 5), value); break;
            case 2 or 3:
                var crtc = random.Next(_isCirrus ? 0x40 : 0x19);
                Indexed(CrtcPort, crtc, crtc is 1 or 7 or 9 or 0x12 && random.Next(10) != 0 ? value & 0x4f : value);
                break;
            case 4 or 5 or 6: Indexed(GraphicsPort, random.Next(_isCirrus ? 0x3a : 9), value); break;
            case 7: Attribute(random.Next(0x15) | 0x20, value); break;
            case 8: Out((ushort)(0x3b0 + random.Next(0x30)), value); break;
            case 9 when _isCirrus: HiddenDac(value); break;
            case 10: _host.In8((ushort)(0x3b0 + random.Next(0x30))); break;
            default:
                var index = random.Next(11);
                Vbe(index, index switch { 1 or 2 or 6 => value * 4, 3 => random.Next(5) * 8, 4 => value & 0xe1, _ => random.Next(2) == 0 ? random.Next(0x1_0000) : value });
                break;
        }
    }

    /// <summary>Any blit at all: its registers by ports or in memory, all of them random or with sides and places that fit the memory.</summary>
    private void Blit(Random random)
    {
        Span<byte> registers = stackalloc byte[0x3a];
        random.NextBytes(registers);
        if (random.Next(3) != 0)
        {
            int width = random.Next(random.Next(3) == 0 ? 0x800 : 64), height = random.Next(64), pitch = random.Next(6) == 0 ? random.Next(0x2000) : 640 << random.Next(3);
            BinaryPrimitives.WriteUInt16LittleEndian(registers[0x20..], (ushort)width);
            BinaryPrimitives.WriteUInt16LittleEndian(registers[0x22..], (ushort)height);
            BinaryPrimitives.WriteUInt16LittleEndian(registers[0x24..], (ushort)pitch);
            BinaryPrimitives.WriteUInt16LittleEndian(registers[0x26..], (ushort)pitch);
            BinaryPrimitives.WriteInt32LittleEndian(registers[0x28..], random.Next(8) == 0 ? VideoBytes - random.Next(5000) : random.Next(VideoBytes));
            if (random.Next(2) == 0) BinaryPrimitives.WriteInt32LittleEndian(registers[0x2c..], BinaryPrimitives.ReadInt32LittleEndian(registers[0x28..]) + random.Next(-3000, 3000));
            registers[0x2f] &= 7;
        }

        // Large ones are rare, so that a run has an end.
        if (random.Next(50) != 0) registers[0x23] = 0;
        if (random.Next(20) != 0) registers[0x21] &= 3;
        ReadOnlySpan<byte> operations = [0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda];
        if (random.Next(10) != 0) registers[0x32] = operations[random.Next(operations.Length)];
        if (random.Next(2) == 0) registers[0x33] &= 7;
        ReadOnlySpan<byte> modes = [0x00, 0x01, 0x04, 0x84, 0xc0, 0x80, 0x40, 0x02, 0x0c, 0x8c, 0x88, 0xc8, 0x08, 0x09];
        if (random.Next(3) != 0) registers[0x30] = (byte)(modes[random.Next(modes.Length)] | (random.Next(4) << 4));
        if (random.Next(8) == 0) Indexed(GraphicsPort, 0x31, 4);
        for (var index = 0x20; index < registers.Length; index++)
            if (index != 0x31) Indexed(GraphicsPort, index, registers[index]);
        for (var index = 0x10; index < 0x16; index++) Indexed(GraphicsPort, index, registers[index]);
        Indexed(GraphicsPort, 0x31, random.Next(8) == 0 ? random.Next(256) : random.Next(2) == 0 ? 2 : 0x22);
        Blits++;
    }

    /// <summary>What a blit may wait for: many writes, or reads, at places where it takes them.</summary>
    private void Feed(Random random)
    {
        var count = random.Next(random.Next(4) == 0 ? 4096 : 200);
        var address = random.Next(3) switch { 0 => Window + (ulong)random.Next(0x8000), 1 => _linear + (16 << 20) + (ulong)random.Next(0x1000), _ => _linear + (ulong)random.Next(0x10_0000) };
        Access(new IoRequest
        {
            Space = IoSpace.Memory,
            Address = address,
            IsRead = random.Next(3) == 0,
            DataIsPointer = true,
            Size = 1u << random.Next(4),
            Count = (uint)count + 1,
            Data = (ulong)random.Next(RamBytes / 2),
        });
    }

    private void SetCursor(Random random)
    {
        Indexed(SequencerPort, 0x12, random.Next(16));
        Indexed(SequencerPort, 0x13, random.Next(64));
        Indexed(SequencerPort, 0x10 | (random.Next(8) << 5), random.Next(random.Next(4) == 0 ? 256 : 100));
        Indexed(SequencerPort, 0x11 | (random.Next(8) << 5), random.Next(random.Next(4) == 0 ? 256 : 80));
        if (random.Next(2) == 0) return;

        // A shape, of which half inverts nothing.
        Span<byte> shape = stackalloc byte[64];
        random.NextBytes(shape);
        if (random.Next(2) == 0) shape.Fill((byte)random.Next(256));
        var place = VideoBytes - (random.Next(256) * 64) - 64;
        if (_memory.ShownAt is not null) _memory.GuestWrites(place, shape);
        else
            for (var i = 0; i < shape.Length; i++) _host.Memory.Write(_linear + (ulong)(place + i), 1, shape[i]);
    }

    private void SetPalette(Random random)
    {
        Out(0x3c8, random.Next(256));
        for (var i = random.Next(1, 30); i > 0; i--) Out(0x3c9, random.Next(256));
    }

    /// <summary>Puts the bars where they were, or elsewhere, or hides them; 0 puts them to their places.</summary>
    private void PlaceBars(int number)
    {
        var random = new Random(number);
        _linear = number == 0 ? Linear : Linear + ((uint)random.Next(4) << 25);
        _registers = number == 0 ? Registers : Registers + ((uint)random.Next(16) << 12);
        _host.ConfigWrite(Slot, 0, 0x10, 4, (uint)_linear);
        _host.ConfigWrite(Slot, 0, _isCirrus ? 0x14 : 0x18, 4, (uint)_registers);
        _host.ConfigWrite(Slot, 0, 0x04, 2, number != 0 && random.Next(10) == 0 ? (uint)random.Next(4) : 3u);
    }

    /// <summary>Brings the picture up to date as a viewer does it, and compares it with the one that is drawn as a whole.</summary>
    private void Look(Random random)
    {
        if (_viewers.Count == 0) return;
        var size = _chip.Size;
        if (size is { } wanted)
        {
            Check(wanted.Width is > 0 and <= Frame.MaxWidth && wanted.Height is > 0 and <= Frame.MaxHeight, $"{wanted} is no size");
            if (wanted.Width * wanted.Height > LargePixels && random.Next(100) != 0) return;
        }

        var isSame = _hub.Frame.Width == size?.Width && _hub.Frame.Height == size?.Height;
        Keep(_before, _hub.Frame);
        var viewer = _viewers[0];
        viewer.Damage.Clear();
        _hub.Refresh();
        Looks++;
        if (size is null) return;
        var frame = _hub.Frame;
        if (isSame) CompareDamage(viewer, frame);
        (_rung, _tells) = (false, viewer.Period > 0 && viewer.NotifyOnce(() => _rung = true));
        if (!_memory.IsTracked) return;

        // Nothing is between the two, so they must be the same; blinking is, because time stands.
        _whole.Resize(frame.Width, frame.Height);
        _wholeDamage.Resize(frame.Width, frame.Height);
        _chip.Draw(_whole, _wholeDamage, true);
        var difference = frame.Pixels.CommonPrefixLength(_whole.Pixels);
        Check(difference == frame.Pixels.Length, $"{frame.Width} x {frame.Height}, at {difference % frame.Width}, {difference / frame.Width}: the picture is not what is drawn anew");
        if (viewer.Period > 0) _tells = viewer.NotifyOnce(() => _rung = true);
    }

    /// <summary>What is another in the picture than before lies in tiles that are damaged, and was told of.</summary>
    private void CompareDamage(ScreenViewer viewer, Frame frame)
    {
        var all = frame.Pixels.CommonPrefixLength(_before.Pixels);
        if (all == frame.Pixels.Length) return;
        Check(!_tells || _rung, $"{frame.Width} x {frame.Height}, at {all % frame.Width}, {all / frame.Width}: the picture changed, and nobody was called");
        _areas.Clear();
        viewer.Damage.AddTo(_areas);
        var columns = (frame.Width + Damage.TileSide - 1) / Damage.TileSide;
        var covered = _covered.AsSpan(0, columns * ((frame.Height + Damage.TileSide - 1) / Damage.TileSide));
        covered.Clear();
        foreach (var area in _areas)
            for (var y = area.Y; y < area.Y + area.Height; y += Damage.TileSide)
                for (var x = area.X; x < area.X + area.Width; x += Damage.TileSide) covered[(y / Damage.TileSide * columns) + (x / Damage.TileSide)] = true;
        for (var y = 0; y < frame.Height; y++)
        {
            Span<uint> now = frame.Line(y), old = _before.Line(y);
            for (var x = now.CommonPrefixLength(old); x < now.Length; x++)
            {
                if (now[x] == old[x]) continue;
                Changes++;
                if (!covered[(y / Damage.TileSide * columns) + (x / Damage.TileSide)]) Check(false, $"{frame.Width} x {frame.Height}, at {x}, {y}: changed without damage");
            }
        }
    }

    private static void Keep(Frame copy, Frame frame)
    {
        copy.Resize(frame.Width, frame.Height);
        frame.Pixels.CopyTo(copy.Pixels);
    }

    private void ChangeViewers(Random random)
    {
        _tells = false;
        if (_viewers.Count == 0 || (random.Next(3) == 0 && _viewers.Count < 4)) _viewers.Add(_hub.Open());
        else if (random.Next(3) == 0)
        {
            _viewers[^1].Dispose();
            _viewers.RemoveAt(_viewers.Count - 1);
        }
        else _viewers[random.Next(_viewers.Count)].SetPeriod(random.Next(3) * 20);
    }

    /// <summary>Saved and restored in place, the state must be the same to the byte, and what is shown too.</summary>
    private void SaveRestore()
    {
        Saves++;
        var shown = _memory.ShownAt;
        var first = Save();
        StateReader.Load([_chip], first);
        Check(first.AsSpan().SequenceEqual(Save()), "the state changed by a restore");
        Check(_memory.ShownAt == shown, "memory is shown elsewhere after a restore");
    }

    private byte[] Save()
    {
        using var stream = new MemoryStream();
        StateWriter.Save([_chip], stream);
        return stream.ToArray();
    }

    private static void Check(bool holds, string otherwise)
    {
        if (!holds) throw new InvalidOperationException(otherwise);
    }

    /// <summary>Memory that the home maps into the guest where it is shown, and whose written pages it knows.</summary>
    private sealed class MappedMemory(int size) : VideoMemory(size)
    {
        private readonly byte[] _bytes = new byte[size];
        private readonly bool[] _written = new bool[size / PageBytes];

        public override Span<byte> Bytes => _bytes;

        public override bool TellsWrites => true;

        public ulong? ShownAt { get; private set; }

        public override void Show(ulong address, bool visible) => ShownAt = visible ? address : null;

        public void GuestWrites(int place, ReadOnlySpan<byte> data)
        {
            data.CopyTo(_bytes.AsSpan(place));
            if (!IsTracked) return;
            for (var page = place / PageBytes; page <= (place + data.Length - 1) / PageBytes; page++) _written[page] = true;
            Touched?.Invoke();
        }

        protected override bool TakeGuestWrites(int offset, int bytes, Span<ulong> pages)
        {
            for (int page = offset / PageBytes, n = 0; n < bytes / PageBytes; page++, n++)
            {
                if (_written[page]) pages[n / 64] |= 1ul << (n % 64);
                _written[page] = false;
            }

            return true;
        }

        protected override void TrackingChanged(bool on) => Array.Clear(_written);
    }
}
