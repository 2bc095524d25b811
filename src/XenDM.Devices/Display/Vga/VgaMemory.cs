using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.State;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// The window a0000-bffff onto the memory of the VGA: four planes of 64 KiB with latches, write modes 0 to 3, read modes 0 and 1, odd/even and
/// chain-4 addressing. Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, graphics controller and sequencer.
/// Byte a of plane p lies at 4a + p of video memory, so that the planes, chain-4 and the linear framebuffer show the same bytes.
/// Deviations: odd/even and chain-4 use consecutive bytes of a plane where the IBM adapter leaves one or three out between them, and the CRT
/// controller fetches them so; the page bits of odd/even (miscellaneous output bit 5, graphics 6 bit 1) have no effect. In a VBE mode the window
/// is the 64 KiB from a0000 on, moved by the bank register: linear memory, or planes in modes of 4 bits.
/// </summary>
public sealed class VgaMemory : IBulkRegion, IStateful
{
    private const ulong WindowStart = 0xa_0000;

    /// <summary>Bytes of the window.</summary>
    public const int WindowBytes = 0x2_0000;
    private const int BankBytes = 0x1_0000;
    private const int PlaneBytes = 0x1_0000;
    private const byte MemoryModeSequential = 0x04;
    private const byte MemoryModeChain4 = 0x08;
    private const byte ModeReadCompare = 0x08;
    private const byte ModeOddEven = 0x10;

    private readonly VideoMemory _memory;
    private readonly VgaRegisters _vga;
    private readonly VbeRegisters? _vbe;
    private readonly ChangeBell _bell;

    /// <summary>What the last read found, plane 0 in the lowest byte.</summary>
    private uint _latches;

    /// <param name="vbe">Registers that show another part of memory in the window; null where there are none.</param>
    internal VgaMemory(VideoMemory memory, VgaRegisters vga, VbeRegisters? vbe, ChangeBell bell)
    {
        _memory = memory;
        _vga = vga;
        _vbe = vbe;
        _bell = bell;
    }

    /// <summary>What the last read found, plane 0 in the lowest byte.</summary>
    internal uint Latches => _latches;

    private bool IsVbe => _vbe is { IsOn: true };

    private bool IsBanked => _vbe is { IsBanked: true };

    internal RegionMapping Map(AddressSpace memory) => memory.Map("vga memory", WindowStart, WindowBytes, this);

    public ulong Read(ulong offset, int size)
    {
        ulong value = 0;
        for (var i = 0; i < size; i++) value |= (ulong)ReadByte((int)offset + i) << (8 * i);
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size == 1) WriteByte((int)offset, (byte)value);
        else
        {
            Span<byte> data = stackalloc byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64LittleEndian(data, value);
            WriteBytes((int)offset, data[..size]);
        }

        _bell.Ring();
    }

    public void ReadBlock(ulong offset, int size, Span<byte> data)
    {
        if (TryBank((int)offset, data.Length, out var bank)) bank.CopyTo(data);
        else if (!TryReadChained((int)offset, data))
            for (var i = 0; i < data.Length; i++) data[i] = ReadByte((int)offset + i);
    }

    public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
    {
        if (TryBank((int)offset, data.Length, out var bank))
        {
            data.CopyTo(bank);
            _memory.NoteWrite(_vbe!.BankOffset + (int)offset, data.Length);
        }
        else WriteBytes((int)offset, data);
        _bell.Ring();
    }

    private void WriteBytes(int offset, ReadOnlySpan<byte> data)
    {
        if (TryWritePlain(offset, data)) return;
        for (var i = 0; i < data.Length; i++) WriteByte(offset + i, data[i]);
    }

    /// <summary>
    /// What nearly all programs do in nearly all of their time: bytes go to memory as they are (write mode 0 without rotation, set/reset, function
    /// and mask), or the latches do (write mode 1). Then a stretch is written in one go.
    /// </summary>
    private bool TryWritePlain(int offset, ReadOnlySpan<byte> data)
    {
        if (IsVbe || data.IsEmpty || !TryPlace(offset, out var address) || !TryPlace(offset + data.Length - 1, out _)) return false;
        var graphics = _vga.Graphics;
        var mode = graphics[5] & 3;
        if (mode > 1 || (mode == 0 && ((graphics[3] & 0x1f) | (graphics[1] & 0x0f)) != 0) || (mode == 0 && graphics[8] != 0xff)) return false;
        var planes = _vga.Sequencer[2] & 0x0f;
        var memoryMode = _vga.Sequencer[4];
        if ((memoryMode & MemoryModeChain4) != 0)
        {
            // Byte after byte lie side by side.
            if (planes != 0x0f || mode != 0) return false;
            data.CopyTo(_memory.Bytes[address..]);
            _memory.NoteWrite(address, data.Length);
            return true;
        }

        if ((memoryMode & MemoryModeSequential) == 0)
        {
            if ((planes & 3) != 3 || mode != 0) return false;
            var pairs = _memory.Bytes;
            var both = planes >> 2;
            for (var i = 0; i < data.Length; i++)
            {
                var at = address + i;
                var place = (4 * ((at >> 1) & (PlaneBytes - 1))) + (at & 1);
                pairs[place] = data[i];
                if (((both >> (at & 1)) & 1) != 0) pairs[place + 2] = data[i];
            }

            _memory.NoteWrite(4 * (address >> 1), 4 * ((data.Length / 2) + 1));
            return true;
        }

        if (address + data.Length > PlaneBytes) return false;
        var cells = MemoryMarshal.Cast<byte, uint>(_memory.Bytes.Slice(4 * address, 4 * data.Length));
        var enabled = Spread(planes);
        if (mode == 0)
            for (var i = 0; i < cells.Length; i++) cells[i] = (cells[i] & ~enabled) | (data[i] * 0x0101_0101u & enabled);
        else
            for (var i = 0; i < cells.Length; i++) cells[i] = (cells[i] & ~enabled) | (_latches & enabled);
        _memory.NoteWrite(4 * address, 4 * data.Length);
        return true;
    }

    /// <summary>A stretch in chain-4 addressing, which lies in memory as the CPU sees it.</summary>
    private bool TryReadChained(int offset, Span<byte> data)
    {
        if (IsVbe || data.IsEmpty || (_vga.Sequencer[4] & MemoryModeChain4) == 0 || (_vga.Graphics[5] & ModeReadCompare) != 0) return false;
        if (!TryPlace(offset, out var address) || !TryPlace(offset + data.Length - 1, out var last)) return false;
        _memory.Bytes.Slice(address, data.Length).CopyTo(data);
        _latches = BinaryPrimitives.ReadUInt32LittleEndian(_memory.Bytes.Slice(last & ~3, 4));
        return true;
    }

    /// <summary>A stretch of the window that is linear memory.</summary>
    private bool TryBank(int offset, int length, out Span<byte> bank)
    {
        bank = default;
        if (_vbe is not { IsBanked: true } || offset + length > BankBytes || _vbe.BankOffset + BankBytes > _memory.Size) return false;
        bank = _memory.Bytes.Slice(_vbe.BankOffset + offset, length);
        return true;
    }

    private byte ReadByte(int offset)
    {
        if (IsBanked) return TryBank(offset, 1, out var bank) ? bank[0] : (byte)0xff;
        if (!TryPlace(offset, out var address)) return 0xff;
        var graphics = _vga.Graphics;
        int index = address, plane = graphics[4];
        if (!IsVbe && (_vga.Sequencer[4] & MemoryModeChain4) != 0)
        {
            plane = address & 3;
            index = address >> 2;
        }
        else if (!IsVbe && (graphics[5] & ModeOddEven) != 0)
        {
            plane = (plane & 2) | (address & 1);
            index = address >> 1;
        }

        if (!TryIndex(ref index)) return 0xff;
        _latches = BinaryPrimitives.ReadUInt32LittleEndian(_memory.Bytes.Slice(4 * index, 4));
        if ((graphics[5] & ModeReadCompare) == 0) return (byte)(_latches >> (8 * plane));

        // A bit is set where all planes that are cared for have the colour.
        var differs = (_latches ^ Spread(graphics[2])) & Spread(graphics[7]);
        differs |= differs >> 16;
        return (byte)~(differs | (differs >> 8));
    }

    private void WriteByte(int offset, byte value)
    {
        if (IsBanked)
        {
            if (!TryBank(offset, 1, out var bank)) return;
            bank[0] = value;
            _memory.NoteWrite(_vbe!.BankOffset + offset, 1);
            return;
        }

        if (!TryPlace(offset, out var address)) return;
        int index = address, planes = _vga.Sequencer[2];
        var memoryMode = _vga.Sequencer[4];
        if (!IsVbe && (memoryMode & MemoryModeChain4) != 0)
        {
            planes &= 1 << (address & 3);
            index = address >> 2;
        }
        else if (!IsVbe && (memoryMode & MemoryModeSequential) == 0)
        {
            planes &= 5 << (address & 1);
            index = address >> 1;
        }

        if (planes == 0 || !TryIndex(ref index)) return;
        var cell = _memory.Bytes.Slice(4 * index, 4);
        var enabled = Spread(planes);
        var old = BinaryPrimitives.ReadUInt32LittleEndian(cell);
        BinaryPrimitives.WriteUInt32LittleEndian(cell, (old & ~enabled) | (Compute(value) & enabled));
        _memory.NoteWrite(4 * index, 4);
    }

    /// <summary>What the graphics controller makes of a byte from the CPU, for all planes.</summary>
    private uint Compute(byte value)
    {
        var graphics = _vga.Graphics;
        var mode = graphics[5] & 3;
        if (mode == 1) return _latches;
        var rotate = graphics[3] & 7;
        var rotated = (byte)((value >> rotate) | (value << (8 - rotate)));
        var mask = graphics[8] * 0x0101_0101u;
        uint data;
        switch (mode)
        {
            case 0:
                var set = Spread(graphics[1]);
                data = ((rotated * 0x0101_0101u) & ~set) | (Spread(graphics[0]) & set);
                break;
            case 2:
                data = Spread(value & 0x0f);
                break;
            default:
                data = Spread(graphics[0]);
                mask &= rotated * 0x0101_0101u;
                break;
        }

        data = (graphics[3] >> 3) switch
        {
            1 => data & _latches,
            2 => data | _latches,
            3 => data ^ _latches,
            _ => data,
        };
        return (data & mask) | (_latches & ~mask);
    }

    /// <summary>The address in the part of the window that GR6 opens.</summary>
    private bool TryPlace(int offset, out int address)
    {
        address = offset;
        if (!_vga.RamEnabled) return false;
        if (IsVbe) return offset < BankBytes;
        var (start, length) = ((_vga.Graphics[6] >> 2) & 3) switch
        {
            0 => (0, WindowBytes),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        address = offset - start;
        return (uint)address < (uint)length;
    }

    /// <summary>The planes repeat after 64 KiB; a VBE mode of 4 bits reaches the rest of them by its bank.</summary>
    private bool TryIndex(ref int index)
    {
        if (_vbe is not { IsOn: true })
        {
            index &= PlaneBytes - 1;
            return true;
        }

        index += _vbe.BankOffset;
        return index < _memory.Size / 4;
    }

    /// <summary>A byte of ones for each bit of a mask of planes.</summary>
    private static uint Spread(int planes) => (((uint)planes * 0x0020_4081) & 0x0101_0101) * 0xff;

    internal void Reset() => _latches = 0;

    public void State(StateVisitor s) => s.U32("latches", ref _latches);
}
