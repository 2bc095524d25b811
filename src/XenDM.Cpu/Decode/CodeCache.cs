using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Iced.Intel;
using XenDM.Cpu.Fpu;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Decode;

/// <summary>
/// Decoded code of a machine, by guest physical address; all vCPUs share it. A write to a page drops the blocks decoded from it when it hits
/// the part that holds code.
/// </summary>
public sealed unsafe class CodeCache : IDisposable
{
    private const int MaxInstructions = 64;
    /// <summary>A slice's instructions are counted on to take some ten nanoseconds. To decode takes a hundred times that, so it ends the slice now and then.</summary>
    private const ulong DecodesOfSlice = 256;

    private const int HashBits = 16;
    private const int MaxLength = 15;
    private const nuint ArenaBytes = 192u << 20;

    /// <summary>What one block may take at most, so that a check before it is enough.</summary>
    private const nuint Reserve = 64 << 10;

    private readonly PhysicalMap _map;
    private readonly Arena _arena = new(ArenaBytes);
    private readonly HostCode _host;
    private readonly Translator _translator;
    private readonly Block** _hash;
    private readonly Dictionary<ulong, CodePage> _pages = [];
    private readonly List<X86Cpu> _cpus = [];
    private readonly Window _window = new();
    private readonly Decoder[] _decoders = new Decoder[3];
    private CpuFeatures? _features;

    /// <param name="memory">For the pieces of host code that run floating point and vector instructions.</param>
    public CodeCache(PhysicalMap map, ICodeMemory memory)
    {
        _map = map;
        _host = new HostCode(memory);
        _translator = new Translator(_host, _arena);
        _hash = (Block**)NativeMemory.AllocZeroed(1 << HashBits, (nuint)sizeof(Block*));
        map.Changed += Clear;
    }

    /// <summary>Blocks decoded, and times that everything was dropped.</summary>
    public ulong Decoded { get; private set; }

    /// <inheritdoc cref="Decoded"/>
    public ulong Flushes { get; private set; }

    /// <summary>All vCPUs of a machine are of one model.</summary>
    internal void Add(X86Cpu cpu)
    {
        _cpus.Add(cpu);
        _features = cpu.Features;
        for (var n = 0; n < 3; n++) _decoders[n] = Decoder.Create(16 << n, _window, cpu.Features.Decoding);
    }

    internal void Remove(X86Cpu cpu) => _cpus.Remove(cpu);

    /// <summary>Room for another block; false means that <see cref="Clear"/> is due.</summary>
    public bool HasRoom => _arena.Free > Reserve && !_host.IsFull;

    /// <summary>Drops everything. Only between blocks.</summary>
    public void Clear()
    {
        Flushes++;
        new Span<nint>(_hash, 1 << HashBits).Clear();
        foreach (var page in _pages.Keys) SetCodeBit(page, false);
        _pages.Clear();
        _arena.Clear();
        _host.Clear();
        foreach (var cpu in _cpus) cpu.ForgetCode();
    }

    private static uint Hash(ulong physical, uint mode) => (uint)((physical * 0x9e37_79b9_7f4a_7c15) >> (64 - HashBits)) ^ (mode << 3);

    /// <summary>A block that was decoded before.</summary>
    internal Block* Find(ulong physical, uint mode)
    {
        for (var block = _hash[Hash(physical, mode) & ((1 << HashBits) - 1)]; block != null; block = block->NextInHash)
            if (block->Physical == physical && block->Mode == mode) return block;
        return null;
    }

    /// <summary>Decodes from an address on.</summary>
    /// <param name="linear">Linear address, for the place in the page.</param>
    /// <param name="second">Physical address of the following page when the first instruction crosses into it.</param>
    /// <param name="needsSecond">The first instruction crosses, and <paramref name="second"/> was not given.</param>
    internal Block* Decode(CpuState* c, ulong physical, ulong ip, ulong second, out bool needsSecond)
    {
        needsSecond = false;
        var mode = c->Mode;
        var bits = (int)(mode & 3);
        var inPage = (int)(0x1000 - (physical & 0xfff));
        var host = _map.Find(physical, out _);
        _window.Load(c, physical, host, inPage, second);
        if (bits != 2)
        {
            // Beyond the limit there is no code (the first instruction was checked by the caller).
            var room = (ulong)c->CodeLimit - ip + 1;
            if (ip > c->CodeLimit) room = 0;
            _window.Limit((int)Math.Min(room, 0x2000));
        }

        var decoder = _decoders[bits];
        decoder.IP = ip;
        var ops = stackalloc Op[MaxInstructions + 1];
        var count = 0;
        var length = 0;
        var ended = false;
        while (count < MaxInstructions && !ended)
        {
            if (_window.Position >= inPage && count > 0) break;
            var start = _window.Position;
            decoder.Decode(out var i);
            if (i.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes)
            {
                if (count > 0) break;
                if (second == ulong.MaxValue && _window.AtPageEnd(inPage))
                {
                    needsSecond = true;
                    return null;
                }

                if (_window.IsLimited)
                {
                    // Not kept: another segment may reach further.
                    Exits.Protection(c, null);
                    return null;
                }
            }
            else if (_window.Position > inPage && count > 0)
            {
                break;
            }

            var isPrefix = false;
            if (_features!.ForcesEmulation && i.Code == Code.Ud2 && i.Length == 2)
            {
                isPrefix = _window.Takes("xen"u8, out var isCut);
                if (isCut && count > 0) break;
                if (isCut && second == ulong.MaxValue && !_window.IsLimited)
                {
                    needsSecond = true;
                    return null;
                }

                if (isPrefix) i.Length = 5;
            }

            var op = ops + count;
            *op = default;
            op->Ip = (ushort)length;
            length += Math.Max(1, i.Length);
            op->NextIp = (ushort)length;
            ended = isPrefix ? _translator.ForcedEmulation(in i, op) : _features.Has(in i) ? _translator.Translate(in i, op, ip, mode) : _translator.Undefined(in i, op);
            if (i.IsInvalid && _window.Position - start >= MaxLength) op->Handler = &TooLong;
            count++;
            if (i.IsInvalid) ended = true;
            if (second != ulong.MaxValue) break;
        }

        var block = _arena.Allocate<Block>(1);
        var body = _arena.Allocate<Op>(count + 1);
        if (block == null || body == null) return null;
        for (var n = 0; n < count; n++)
        {
            body[n] = ops[n];
            body[n].Remaining = (byte)(count - 1 - n);
        }

        body[count] = default;
        body[count].Handler = &Interpreter.Branches.FallThrough;
        body[count].Ip = (ushort)length;
        body[count].NextIp = (ushort)length;
        *block = new Block
        {
            Ops = body,
            Count = count,
            OpCount = (ushort)(count + 1),
            Mode = mode,
            Physical = physical,
            Bytes = (ushort)length,
            SecondPage = second == ulong.MaxValue ? second : second & ~0xffful,
        };
        var slot = Hash(physical, mode) & ((1 << HashBits) - 1);
        block->NextInHash = _hash[slot];
        _hash[slot] = block;
        Register(block, physical, Math.Min(length, inPage));
        if (second != ulong.MaxValue) Register(block, second & ~0xffful, Math.Max(1, length - inPage));
        Decoded++;
        if (Decoded % DecodesOfSlice == 0) X86Cpu.Of(c).RequestExit();
        return block;
    }

    /// <summary>More than 15 bytes (SDM 3, 6.15, interrupt 13).</summary>
    private static Op* TooLong(CpuState* c, Op* op) => Exits.Protection(c, op);

    private void Register(Block* block, ulong physical, int bytes)
    {
        var page = physical >> 12;
        if (page >= _map.PageCount) return;
        if (!_pages.TryGetValue(page, out var code))
        {
            code = new CodePage();
            _pages[page] = code;
            SetCodeBit(page, true);
            foreach (var cpu in _cpus) cpu.ForbidWrites(page << 12);
        }

        code.Blocks.Add((nint)block);
        var first = (int)(physical & 0xfff);
        for (var n = first; n < Math.Min(first + bytes, 0x1000); n++) code.Bytes[n >> 6] |= 1ul << n;
    }

    private void SetCodeBit(ulong page, bool set)
    {
        if (set) _map.CodePages[page >> 5] |= 1u << (int)(page & 31);
        else _map.CodePages[page >> 5] &= ~(1u << (int)(page & 31));
    }

    /// <summary>Guest memory was written by a CPU or a device.</summary>
    public void Written(ulong physical, int length)
    {
        while (length > 0)
        {
            var page = physical >> 12;
            var offset = (int)(physical & 0xfff);
            var bytes = Math.Min(length, 0x1000 - offset);
            if (page < _map.PageCount && (_map.CodePages[page >> 5] >> (int)(page & 31) & 1) != 0 && _pages.TryGetValue(page, out var code))
            {
                if (code.Holds(offset, bytes)) Drop(page, code);
            }

            physical += (ulong)bytes;
            length -= bytes;
        }
    }

    /// <summary>Kills a page's blocks: whoever runs one stops at its next instruction, and nobody enters it again.</summary>
    private void Drop(ulong page, CodePage code)
    {
        _pages.Remove(page);
        SetCodeBit(page, false);
        foreach (var at in code.Blocks)
        {
            var block = (Block*)at;
            if (block->Count == Block.Dead) continue;
            block->Count = Block.Dead;
            for (var n = 0; n < block->OpCount; n++) block->Ops[n].Handler = &Exits.Stale;
            // The last entry is no instruction.
            var slot = Hash(block->Physical, block->Mode) & ((1 << HashBits) - 1);
            for (var link = &_hash[slot]; *link != null; link = &(*link)->NextInHash)
            {
                if (*link != block) continue;
                *link = block->NextInHash;
                break;
            }
        }
    }

    public void Dispose()
    {
        _map.Changed -= Clear;
        _arena.Dispose();
        _host.Dispose();
        NativeMemory.Free(_hash);
    }

    private sealed class CodePage
    {
        public List<nint> Blocks { get; } = [];

        /// <summary>A bit for each byte that is code: old programs keep data beside their code and write it often.</summary>
        public ulong[] Bytes { get; } = new ulong[0x1000 / 64];

        public bool Holds(int offset, int bytes)
        {
            var end = offset + bytes - 1;
            for (var n = offset >> 6; n <= end >> 6; n++)
            {
                var bits = Bytes[n];
                if (n == offset >> 6) bits &= ulong.MaxValue << offset;
                if (n == end >> 6) bits &= ulong.MaxValue >> (63 - (end & 63));
                if (bits != 0) return true;
            }

            return false;
        }
    }

    /// <summary>The bytes that the decoder reads: the rest of a page and, for an instruction that crosses, the start of the next.</summary>
    private sealed class Window : CodeReader
    {
        private readonly byte[] _copy = new byte[0x1000 + 16];
        private int _length;

        public int Position { get; private set; }

        public void Load(CpuState* c, ulong physical, byte* host, int inPage, ulong second)
        {
            Position = 0;
            IsLimited = false;
            if (host != null)
            {
                new ReadOnlySpan<byte>(host, inPage).CopyTo(_copy);
            }
            else
            {
                for (var n = 0; n < Math.Min(inPage, 16); n++) _copy[n] = (byte)Memory.ReadPhysical(c, physical + (ulong)n, 1);
                inPage = Math.Min(inPage, 16);
            }

            _length = inPage;
            if (second == ulong.MaxValue) return;
            for (var n = 0; n < 15; n++) _copy[_length + n] = (byte)Memory.ReadPhysical(c, (second & ~0xffful) + (ulong)n, 1);
            _length += 15;
        }

        /// <summary>The segment ends before the bytes that are there.</summary>
        public bool IsLimited { get; private set; }

        public void Limit(int bytes)
        {
            IsLimited = bytes < _length;
            _length = Math.Min(_length, bytes);
        }

        public bool AtPageEnd(int inPage) => _length >= inPage && Position >= inPage;

        /// <summary>Goes on behind a text if it stands here. It may be cut by the end of what is there.</summary>
        public bool Takes(ReadOnlySpan<byte> text, out bool isCut)
        {
            var there = _copy.AsSpan(Position, Math.Min(_length - Position, text.Length));
            isCut = there.Length < text.Length && text.StartsWith(there);
            if (!there.SequenceEqual(text)) return false;
            Position += text.Length;
            return true;
        }

        public override int ReadByte() => Position < _length ? _copy[Position++] : -1;
    }
}
