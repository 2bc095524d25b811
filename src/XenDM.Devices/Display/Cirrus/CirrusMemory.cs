using System;
using System.Buffers.Binary;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// How the CPU reaches the memory of the CL-GD5446: the window a0000-bffff, which is the VGA's or, with SR7 bit 0, 64 KiB of packed pixels in
/// one or two banks; linear memory in BAR0; the blitter's aperture in its upper half; the blitter's registers in memory. Packed pixels take
/// bytes as they are, or by GRB and GR5 eight pixels at once: bits expanded to colours (write modes 4 and 5), or from latches (write mode 1).
/// Specification: CL-GD5446 Technical Reference Manual, GR9 to GRB, SR17 and "Byte swapping".
/// Deviation: with more than the chip's 4 MiB the lower half of BAR0 has no byte-swapping apertures, but repeats memory.
/// </summary>
internal sealed class CirrusMemory : IStateful
{
    private const ulong WindowStart = 0xa_0000;
    private const int BankBytes = 0x1_0000;
    private const int MmioInWindow = 0x1_8000;
    private const int MmioBytes = 0x100;

    /// <summary>Bytes of BAR0.</summary>
    public const int BarBytes = 32 << 20;
    private const int BlitAperture = 16 << 20;
    private const int SwapApertureBits = 22;

    private readonly VideoMemory _memory;
    private readonly CirrusRegisters _registers;
    private readonly CirrusBlitter _blitter;
    private readonly VgaMemory _planes;
    private readonly ChangeBell _bell;
    private readonly Action _transferEnded;

    /// <summary>The eight bytes that the last read found.</summary>
    private ulong _latches;

    /// <param name="planes">The window while memory is not packed.</param>
    /// <param name="transferEnded">The CPU's part of a blit is over.</param>
    public CirrusMemory(VideoMemory memory, CirrusRegisters registers, CirrusBlitter blitter, VgaMemory planes, ChangeBell bell, Action transferEnded)
    {
        _memory = memory;
        _registers = registers;
        _blitter = blitter;
        _planes = planes;
        _bell = bell;
        _transferEnded = transferEnded;
        Linear = new LinearRegion(this);
    }

    /// <summary>BAR0.</summary>
    public IIoRegion Linear { get; }

    /// <summary>Linear memory is bytes as they are, so that the home can map it.</summary>
    public bool IsPlain => !TakesWrites && !GivesReads && _registers.AddressShift == 0 && _registers.WriteMode < 4 && !_registers.IsMmioInLinear;

    private bool TakesWrites => _blitter.TakesWrites && !_blitter.UsesApertureOnly;

    private bool GivesReads => _blitter.GivesReads && !_blitter.UsesApertureOnly;

    public RegionMapping MapWindow(AddressSpace memory) => memory.Map("vga memory", WindowStart, VgaMemory.WindowBytes, new WindowRegion(this));

    /// <summary>A register of the blitter in memory.</summary>
    /// <param name="offset">0 to ff.</param>
    public byte ReadMmio(int offset) => MmioIndex(offset) is var index and >= 0 && _registers.TryRead(RegisterBank.Graphics, (byte)index, out var value) ? value : (byte)0xff;

    /// <inheritdoc cref="ReadMmio"/>
    public void WriteMmio(int offset, byte value)
    {
        var index = MmioIndex(offset);
        if (index < 0) return;

        // GR0 and GR1 have their low bits in the VGA's registers too, which only their ports change.
        _registers.TryWrite(RegisterBank.Graphics, (byte)index, value);
    }

    /// <summary>The graphics register at an offset of the blitter's registers in memory; -1 for none.</summary>
    private static int MmioIndex(int offset) => offset switch
    {
        // Background and foreground lie byte by byte in every other register.
        0x00 => 0x00,
        0x04 => 0x01,
        >= 0x01 and <= 0x03 => 0x0e + (2 * offset),
        >= 0x05 and <= 0x07 => 0x11 + (2 * (offset - 5)),

        // Width, height and pitches; then addresses with a gap after each.
        >= 0x08 and <= 0x12 => 0x18 + offset,
        >= 0x14 and <= 0x18 => 0x18 + offset,
        0x1a or 0x1b => 0x18 + offset,
        0x1c or 0x1d => 0x18 + offset,
        0x20 or 0x21 => 0x18 + offset,
        0x40 => 0x31,
        _ => -1,
    };

    /// <summary>Whether the window answers packed pixels at an offset.</summary>
    private bool IsBank(int offset) => _registers.Vga.RamEnabled && offset < BankBytes;

    private byte ReadWindow(int offset)
    {
        if (_registers.IsMmioInWindow && offset is >= MmioInWindow and < MmioInWindow + MmioBytes) return ReadMmio(offset - MmioInWindow);
        return IsBank(offset) ? ReadPacked(_registers.BankAddress(offset)) : (byte)0xff;
    }

    private void WriteWindow(int offset, byte value)
    {
        if (_registers.IsMmioInWindow && offset is >= MmioInWindow and < MmioInWindow + MmioBytes) WriteMmio(offset - MmioInWindow, value);
        else if (IsBank(offset)) WritePacked(_registers.BankAddress(offset), value);
    }

    private byte ReadPacked(int address)
    {
        var memory = _memory.Bytes;
        address = (address << _registers.AddressShift) & (memory.Length - 1);
        if (_registers.HasWideLatches) _latches = BinaryPrimitives.ReadUInt64LittleEndian(memory.Slice(address & ~7, 8));
        return memory[address];
    }

    private void WritePacked(int address, byte value)
    {
        var memory = _memory.Bytes;
        address = (address << _registers.AddressShift) & (memory.Length - 1);
        var mode = _registers.WriteMode;
        if (mode >= 4) WritePixels(memory, address, value, opaque: mode == 5);
        else if (mode == 1 && _registers.HasWideLatches)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(memory.Slice(address & ~7, 8), _latches);
            _memory.NoteWrite(address & ~7, 8);
        }
        else
        {
            memory[address] = value;
            _memory.NoteWrite(address, 1);
        }
    }

    /// <summary>Eight pixels of bits, the first one in bit 7: 1 is the foreground colour, 0 the background colour or, in mode 4, left alone.</summary>
    private void WritePixels(Span<byte> memory, int address, byte bits, bool opaque)
    {
        var colours = _registers.Graphics;
        var bytes = _registers.IsWriteMode16 ? 2 : 1;
        _memory.NoteWrite(address, 8 * bytes);
        if (address + (8 * bytes) > memory.Length) _memory.NoteWrite(0, 8 * bytes);
        for (var pixel = 0; pixel < 8; pixel++, address += bytes)
        {
            var bit = 0x80 >> pixel;
            var one = (bits & bit) != 0 ? 1 : 0;
            if ((_registers.PixelMask & bit) == 0 || (one == 0 && !opaque)) continue;
            memory[address & (memory.Length - 1)] = colours[one];
            if (bytes == 2) memory[(address + 1) & (memory.Length - 1)] = colours[0x10 + one];
        }
    }

    private ulong Give(int size)
    {
        Span<byte> bytes = stackalloc byte[8];
        _blitter.Give(bytes[..size]);
        if (!_blitter.GivesReads) _transferEnded();
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    /// <summary>One access of the CPU; what of it the blit does not need is lost.</summary>
    private void Take(int size, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        TakeBlock(bytes[..size]);
    }

    /// <returns>Bytes that the blit took.</returns>
    private int TakeBlock(ReadOnlySpan<byte> data)
    {
        var taken = _blitter.Take(data);
        if (!_blitter.TakesWrites) _transferEnded();
        return taken;
    }

    /// <summary>Hands a block to the blit, and what lies behind the item in which that ends to what follows.</summary>
    private ReadOnlySpan<byte> TakeItems(int size, ReadOnlySpan<byte> data)
    {
        var taken = TakeBlock(data);
        return data[Math.Min((taken + size - 1) / size * size, data.Length)..];
    }

    /// <summary>a0000-bffff.</summary>
    private sealed class WindowRegion(CirrusMemory chip) : IBulkRegion
    {
        /// <summary>The VGA's own memory is there.</summary>
        private bool IsVga(ulong offset) => !chip._registers.IsPacked && !(chip._registers.IsMmioInWindow && offset >= MmioInWindow);

        public ulong Read(ulong offset, int size)
        {
            if (IsVga(offset)) return chip._planes.Read(offset, size);
            if (chip.GivesReads && offset < BankBytes) return chip.Give(size);
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)chip.ReadWindow((int)offset + i) << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (IsVga(offset))
            {
                chip._planes.Write(offset, size, value);
                return;
            }

            if (chip.TakesWrites && offset < BankBytes) chip.Take(size, value);
            else
                for (var i = 0; i < size; i++) chip.WriteWindow((int)offset + i, (byte)(value >> (8 * i)));
            chip._bell.Ring();
        }

        public void ReadBlock(ulong offset, int size, Span<byte> data)
        {
            if (IsVga(offset)) chip._planes.ReadBlock(offset, size, data);
            else if (chip.GivesReads && offset < BankBytes)
            {
                for (var i = 0; i < data.Length; i += size) Put(data.Slice(i, size), chip.GivesReads ? chip.Give(size) : Read(offset + (ulong)i, size));
            }
            else if (TrySpan(offset, data.Length, out var bytes)) bytes.CopyTo(data);
            else
                for (var i = 0; i < data.Length; i++) data[i] = chip.ReadWindow((int)offset + i);
        }

        public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
        {
            if (IsVga(offset))
            {
                chip._planes.WriteBlock(offset, size, data);
                return;
            }

            if (chip.TakesWrites && offset < BankBytes)
            {
                var rest = chip.TakeItems(size, data);
                offset += (ulong)(data.Length - rest.Length);
                data = rest;
            }

            if (TrySpan(offset, data.Length, out var bytes))
            {
                data.CopyTo(bytes);
                chip._memory.NoteWrite(chip._registers.BankAddress((int)offset) & (chip._memory.Size - 1), data.Length);
            }
            else
                for (var i = 0; i < data.Length; i++) chip.WriteWindow((int)offset + i, data[i]);
            chip._bell.Ring();
        }

        /// <summary>A stretch of one bank that is bytes as they are, and does not run over the end of memory.</summary>
        private bool TrySpan(ulong offset, int length, out Span<byte> bytes)
        {
            bytes = default;
            var registers = chip._registers;
            if (length == 0 || registers.AddressShift != 0 || registers.WriteMode >= 4 || !chip.IsBank((int)offset + length - 1)) return false;
            int first = registers.BankAddress((int)offset), last = registers.BankAddress((int)offset + length - 1);
            if (last - first != length - 1) return false;
            first &= chip._memory.Size - 1;
            if (first + length > chip._memory.Size) return false;
            bytes = chip._memory.Bytes.Slice(first, length);
            return true;
        }
    }

    private static void Put(Span<byte> data, ulong value)
    {
        for (var i = 0; i < data.Length; i++) data[i] = (byte)(value >> (8 * i));
    }

    /// <summary>BAR0: memory, seen as bytes, swapped words and swapped dwords, and from 16 MiB on the blitter's aperture.</summary>
    private sealed class LinearRegion(CirrusMemory chip) : IBulkRegion
    {
        public ulong Read(ulong offset, int size)
        {
            if (Gives(offset)) return chip.Give(size);
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)ReadByte((int)offset + i) << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (Takes(offset)) chip.Take(size, value);
            else
                for (var i = 0; i < size; i++) WriteByte((int)offset + i, (byte)(value >> (8 * i)));
            chip._bell.Ring();
        }

        public void ReadBlock(ulong offset, int size, Span<byte> data)
        {
            if (TrySpan(offset, data.Length, out var bytes)) bytes.CopyTo(data);
            else
                for (var i = 0; i < data.Length; i += size) Put(data.Slice(i, size), Read(offset + (ulong)i, size));
        }

        public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
        {
            if (Takes(offset))
            {
                var rest = chip.TakeItems(size, data);
                offset += (ulong)(data.Length - rest.Length);
                data = rest;
            }

            if (TrySpan(offset, data.Length, out var bytes))
            {
                data.CopyTo(bytes);
                chip._memory.NoteWrite((int)offset, data.Length);
            }
            else
                for (var i = 0; i < data.Length; i++) WriteByte((int)offset + i, data[i]);
            chip._bell.Ring();
        }

        private bool Gives(ulong offset) => offset >= BlitAperture ? chip._blitter.GivesReads : chip.GivesReads;

        private bool Takes(ulong offset) => offset >= BlitAperture ? chip._blitter.TakesWrites : chip.TakesWrites;

        private byte ReadByte(int offset)
        {
            if (offset >= BlitAperture) return 0xff;
            var address = Address(offset);
            return Mmio(address) is var register and >= 0 ? chip.ReadMmio(register) : chip.ReadPacked(address);
        }

        private void WriteByte(int offset, byte value)
        {
            if (offset >= BlitAperture) return;
            var address = Address(offset);
            if (Mmio(address) is var register and >= 0) chip.WriteMmio(register, value);
            else chip.WritePacked(address, value);
        }

        /// <summary>Swapped bytes lie at an address with its lowest bits turned over.</summary>
        private int Address(int offset)
        {
            var address = offset & (chip._memory.Size - 1);
            if (chip._memory.Size != 1 << SwapApertureBits) return address;
            return (offset >> SwapApertureBits) switch
            {
                1 => address ^ 1,
                2 => address ^ 3,
                _ => address,
            };
        }

        private int Mmio(int address) => chip._registers.IsMmioInLinear && address >= chip._memory.Size - MmioBytes ? address - (chip._memory.Size - MmioBytes) : -1;

        private bool TrySpan(ulong offset, int length, out Span<byte> bytes)
        {
            bytes = default;
            if (!chip.IsPlain || (long)offset + length > chip._memory.Size) return false;
            bytes = chip._memory.Bytes.Slice((int)offset, length);
            return true;
        }
    }

    public void Reset() => _latches = 0;

    public void State(StateVisitor s) => s.U64("latches", ref _latches);
}
