using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Iced.Intel;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Fpu;

/// <summary>What an instruction of the floating point and vector units needs around its piece of host code.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct HostOp
{
    /// <summary>Runs the instruction on the state; the second argument is its memory operand.</summary>
    public delegate* unmanaged[SuppressGCTransition]<CpuState*, byte*, void> Code;

    public byte MemorySize;

    /// <summary>Required alignment of the memory operand, 0 or 1 for none.</summary>
    public byte Alignment;

    public byte Reads, Writes;

    /// <summary>Uses MXCSR.</summary>
    public byte Arithmetic;

    /// <summary>Arithmetic flags are read, or written.</summary>
    public byte FlagsIn, FlagsOut;

    public HostUnitKind Unit;


}

internal enum HostUnitKind : byte
{
    X87,
    Mmx,
    Sse,
    Avx,

    /// <summary>Integer instructions with a VEX or SSE encoding (BMI, CRC32): no unit state.</summary>
    Integer,
}

/// <summary>
/// Makes the pieces of host code: each loads the guest registers that an instruction names into the same host registers, runs the very
/// instruction, and stores them back. So results are the host CPU's own, to the bit, with the guest's rounding and exception flags. The host
/// is x86-64 with the System V calling convention.
/// </summary>
internal sealed unsafe class HostCode : IDisposable
{
    private const int Rax = 0, Rcx = 1, Rdx = 2, Rsp = 4, Rsi = 6, Rdi = 7, R8 = 8, R9 = 9, R10 = 10, R11 = 11;

    /// <summary>The rest of the mask are condition codes of the x87.</summary>
    private const RflagsBits Eflags = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF | RflagsBits.PF;

    private readonly ICodeMemory _memory;
    private readonly Dictionary<(ulong, ulong, byte), nint> _cache = [];
    private readonly InstructionInfoFactory _info = new();
    private readonly ListWriter _encoded = new();
    private readonly Encoder _encoder;
    private byte* _at;
    private int _used;

    public HostCode(ICodeMemory memory)
    {
        _memory = memory;
        _encoder = Encoder.Create(64, _encoded);
    }

    public bool IsFull => _used > _memory.Length - 1024;

    public void Clear()
    {
        _cache.Clear();
        _used = 0;
    }

    /// <summary>Prepares an instruction.</summary>
    /// <returns>False when the instruction cannot be run this way.</returns>
    public bool TryMake(in Instruction guest, HostUnitKind unit, out HostOp made)
    {
        made = default;
        if (IsFull) return false;
        made.Unit = unit;
        var instruction = guest;
        ref readonly var info = ref _info.GetInfo(guest);

        uint gprRead = 0, gprWritten = 0, vectorRead = 0, vectorWritten = 0;
        foreach (var used in info.GetUsedRegisters())
        {
            var register = used.Register;
            if (register.IsGPR())
            {
                // An address register is not an operand here.
                var bit = 1u << register.GetFullRegister().GetNumber();
                if (IsAddressOnly(in guest, register)) continue;
                if (Reads(used.Access) || register.GetSize() < 4) gprRead |= bit;
                if (Writes(used.Access)) gprWritten |= bit;
            }
            else if (register.IsVectorRegister())
            {
                var bit = 1u << register.GetNumber();
                if (register.GetNumber() > 15) return false;
                vectorRead |= bit;
                if (Writes(used.Access)) vectorWritten |= bit;
            }
        }

        var hasMemory = false;
        for (var n = 0; n < guest.OpCount; n++) hasMemory |= guest.GetOpKind(n) == OpKind.Memory;
        if (hasMemory)
        {
            if (guest.IsVsib) return false;
            made.MemorySize = (byte)Math.Min(guest.MemorySize.GetSize(), 64);
            if (made.MemorySize == 0) return false;
            foreach (var used in info.GetUsedMemory())
            {
                if (Reads(used.Access)) made.Reads = 1;
                if (Writes(used.Access)) made.Writes = 1;
            }

            made.Alignment = (byte)AlignmentOf(in guest, made.MemorySize);
        }

        var vex = guest.Encoding == EncodingKind.VEX;
        made.Arithmetic = unit is HostUnitKind.Sse or HostUnitKind.Avx or HostUnitKind.Mmx && UsesMxcsr(guest.Mnemonic) ? (byte)1 : (byte)0;
        made.FlagsOut = (guest.RflagsModified & Eflags) != 0 ? (byte)1 : (byte)0;
        made.FlagsIn = (guest.RflagsRead & Eflags) != 0 ? (byte)1 : (byte)0;

        // RSP cannot be loaded: another register stands for it.
        var context = -1;
        var memory = -1;
        var stackStandIn = -1;
        var usedGprs = gprRead | gprWritten;
        foreach (var candidate in (ReadOnlySpan<int>)[R11, R10, R9, R8, Rax, Rcx, Rdx])
        {
            if ((usedGprs & (1u << candidate)) != 0) continue;
            if (context < 0) context = candidate;
            else if (memory < 0) memory = candidate;
            else if (stackStandIn < 0) stackStandIn = candidate;
        }

        if (memory < 0) return false;
        if ((usedGprs & (1u << Rsp)) != 0)
        {
            if (stackStandIn < 0) return false;
            for (var n = 0; n < instruction.OpCount; n++)
            {
                if (instruction.GetOpKind(n) != OpKind.Register) continue;
                var register = instruction.GetOpRegister(n);
                if (!register.IsGPR() || register.GetFullRegister() != Register.RSP) continue;
                Set(ref instruction, n, Replacement(register, stackStandIn));
            }
        }

        if (hasMemory)
        {
            instruction.MemoryBase = Register.RAX + memory;
            instruction.MemoryIndex = Register.None;
            instruction.MemoryIndexScale = 1;
            instruction.MemoryDisplacement64 = 0;
            instruction.MemoryDisplSize = 0;
            instruction.SegmentPrefix = Register.None;
        }

        instruction.CodeSize = CodeSize.Code64;
        _encoded.Clear();
        if (!_encoder.TryEncode(in instruction, 0, out _, out _)) return false;
        var key = Key(made.FlagsIn);
        if (_cache.TryGetValue(key, out var known))
        {
            made.Code = (delegate* unmanaged[SuppressGCTransition]<CpuState*, byte*, void>)known;
            return true;
        }

        var start = _used;
        _at = (byte*)_memory.Writable + _used;
        var begin = _at;
        Emit(in made, vex, gprRead, gprWritten, vectorRead, vectorWritten, context, memory, stackStandIn);
        _used = (_used + (int)(_at - begin) + 15) & ~15;
        var code = _memory.Executable + start;
        _cache[key] = code;
        made.Code = (delegate* unmanaged[SuppressGCTransition]<CpuState*, byte*, void>)code;
        return true;
    }

    private void Emit(in HostOp made, bool vex, uint gprRead, uint gprWritten, uint vectorRead, uint vectorWritten, int context, int memory, int standIn)
    {
        const uint CalleeSaved = (1 << 3) | (1 << 5) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 15);
        var saved = (gprRead | gprWritten) & CalleeSaved;
        for (var r = 0; r < 16; r++)
            if ((saved & (1u << r)) != 0) PushPop(0x50, r);
        Move(context, Rdi);
        Move(memory, Rsi);
        var x87 = made.Unit is HostUnitKind.X87 or HostUnitKind.Mmx;
        if (x87) Memory(true, [0x0f, 0xae], 1, context, CpuState.FxOffset);
        for (var r = 0; r < 16; r++)
            if ((vectorRead & (1u << r)) != 0) Vector(vex, false, r, context, CpuState.YmmOffset + (r * 32));
        if (made.Arithmetic != 0) Memory(false, [0x0f, 0xae], 2, context, Offsets.StageMxcsr);
        if (made.FlagsIn != 0)
        {
            Memory(false, [0xff], 6, context, Offsets.StageFlags);
            Byte(0x9d);
        }

        for (var r = 0; r < 16; r++)
            if (((gprRead | gprWritten) & (1u << r)) != 0) Memory(true, [0x8b], r == Rsp ? standIn : r, context, r * 8);
        foreach (var b in _encoded.Bytes) Byte(b);
        for (var r = 0; r < 16; r++)
            if ((gprWritten & (1u << r)) != 0) Memory(true, [0x89], r == Rsp ? standIn : r, context, r * 8);
        if (made.FlagsOut != 0)
        {
            Byte(0x9c);
            Memory(false, [0x8f], 0, context, Offsets.StageFlags);
        }

        if (made.Arithmetic != 0)
        {
            Memory(false, [0x0f, 0xae], 3, context, Offsets.StageMxcsr);
            Memory(false, [0x0f, 0xae], 2, context, Offsets.HostMxcsr);
        }

        for (var r = 0; r < 16; r++)
            if ((vectorWritten & (1u << r)) != 0) Vector(vex, true, r, context, CpuState.YmmOffset + (r * 32));
        if (x87)
        {
            Memory(true, [0x0f, 0xae], 0, context, CpuState.FxOffset);
            Byte(0xdb);
            Byte(0xe3);
            Memory(false, [0x0f, 0xae], 2, context, Offsets.HostMxcsr);
        }

        if (vex && (vectorRead | vectorWritten) != 0)
        {
            Byte(0xc5);
            Byte(0xf8);
            Byte(0x77);
        }

        for (var r = 15; r >= 0; r--)
            if ((saved & (1u << r)) != 0) PushPop(0x58, r);
        Byte(0xc3);
    }

    private void Byte(byte value) => *_at++ = value;

    private void PushPop(byte opcode, int register)
    {
        if (register >= 8) Byte(0x41);
        Byte((byte)(opcode + (register & 7)));
    }

    private void Move(int to, int from)
    {
        if (to == from) return;
        Byte((byte)(0x48 | (from >= 8 ? 4 : 0) | (to >= 8 ? 1 : 0)));
        Byte(0x89);
        Byte((byte)(0xc0 | ((from & 7) << 3) | (to & 7)));
    }

    /// <summary>opcode reg, [base + displacement].</summary>
    private void Memory(bool wide, ReadOnlySpan<byte> opcode, int register, int baseRegister, int displacement)
    {
        var rex = 0x40 | (wide ? 8 : 0) | (register >= 8 ? 4 : 0) | (baseRegister >= 8 ? 1 : 0);
        if (rex != 0x40) Byte((byte)rex);
        foreach (var b in opcode) Byte(b);
        Address(register, baseRegister, displacement);
    }

    private void Address(int register, int baseRegister, int displacement)
    {
        Byte((byte)(0x80 | ((register & 7) << 3) | (baseRegister & 7)));
        if ((baseRegister & 7) == 4) Byte(0x24);
        *(int*)_at = displacement;
        _at += 4;
    }

    /// <summary>MOVUPS or VMOVUPS ymm.</summary>
    private void Vector(bool vex, bool store, int register, int baseRegister, int displacement)
    {
        if (vex)
        {
            Byte(0xc4);
            Byte((byte)((register >= 8 ? 0 : 0x80) | 0x40 | (baseRegister >= 8 ? 0 : 0x20) | 1));
            Byte(0x7c);
        }
        else
        {
            var rex = 0x40 | (register >= 8 ? 4 : 0) | (baseRegister >= 8 ? 1 : 0);
            if (rex != 0x40) Byte((byte)rex);
            Byte(0x0f);
        }

        Byte(store ? (byte)0x11 : (byte)0x10);
        Address(register, baseRegister, displacement);
    }

    private static bool Reads(OpAccess access) => access is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite or OpAccess.ReadCondWrite;

    private static bool Writes(OpAccess access) => access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite;

    private static bool IsAddressOnly(in Instruction i, Register register)
    {
        var full = register.GetFullRegister();
        for (var n = 0; n < i.OpCount; n++)
            if (i.GetOpKind(n) == OpKind.Register && i.GetOpRegister(n).IsGPR() && i.GetOpRegister(n).GetFullRegister() == full) return false;
        return i.MemoryBase.GetFullRegister() == full || i.MemoryIndex.GetFullRegister() == full;
    }

    private static Register Replacement(Register register, int number) => register.GetSize() switch
    {
        8 => Register.RAX + number,
        4 => Register.EAX + number,
        2 => Register.AX + number,
        _ => number < 4 ? Register.AL + number : Register.SPL + (number - 4),
    };

    private static void Set(ref Instruction i, int operand, Register register)
    {
        switch (operand)
        {
            case 0: i.Op0Register = register; break;
            case 1: i.Op1Register = register; break;
            case 2: i.Op2Register = register; break;
            default: i.Op3Register = register; break;
        }
    }

    private (ulong, ulong, byte) Key(byte flags)
    {
        ulong low = 0, high = 0;
        var n = 0;
        foreach (var b in _encoded.Bytes)
        {
            if (n < 8) low |= (ulong)b << (n * 8);
            else high |= (ulong)b << ((n - 8) * 8);
            n++;
        }

        return (low, high | ((ulong)n << 60), flags);
    }

    /// <summary>Legacy SSE wants 16-byte operands aligned, but for the unaligned moves and the string compares; VEX only the aligned moves.</summary>
    private static int AlignmentOf(in Instruction i, int size)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa or Mnemonic.Vmovntdq or Mnemonic.Vmovntdqa or Mnemonic.Vmovntps or Mnemonic.Vmovntpd:
                return size;
            case Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Pcmpestri or Mnemonic.Pcmpestrm or Mnemonic.Pcmpistri or Mnemonic.Pcmpistrm:
                return 0;
            default:
                return i.Encoding == EncodingKind.Legacy && size == 16 ? 16 : 0;
        }
    }

    /// <summary>Whether the instruction rounds or raises floating-point exceptions.</summary>
    private static bool UsesMxcsr(Mnemonic mnemonic)
    {
        var name = mnemonic.ToString();
        if (name.StartsWith('V')) name = name[1..];
        foreach (var start in (ReadOnlySpan<string>)["Addp", "Adds", "Subp", "Subs", "Mulp", "Muls", "Divp", "Divs", "Sqrt", "Max", "Min", "Cmpp", "Cmps", "Comis", "Ucomis", "Cvt", "Round", "Dpp", "Haddp", "Hsubp", "Fm", "Fnm"])
            if (name.StartsWith(start, StringComparison.OrdinalIgnoreCase)) return true;
        return false;
    }

    public void Dispose() => _memory.Dispose();

    private sealed class ListWriter : CodeWriter
    {
        private readonly byte[] _bytes = new byte[32];
        private int _count;

        public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _count);

        public void Clear() => _count = 0;

        public override void WriteByte(byte value)
        {
            if (_count < _bytes.Length) _bytes[_count++] = value;
        }
    }

    /// <summary>Where the code finds fields of the state.</summary>
    private static class Offsets
    {
        public static readonly int StageMxcsr = Of(nameof(CpuState.StageMxcsr));
        public static readonly int HostMxcsr = Of(nameof(CpuState.HostMxcsr));
        public static readonly int StageFlags = Of(nameof(CpuState.StageFlags));

        private static int Of(string field)
        {
            CpuState state = default;
            var start = (byte*)&state;
            return (int)(field switch
            {
                nameof(CpuState.StageMxcsr) => (byte*)&state.StageMxcsr - start,
                nameof(CpuState.HostMxcsr) => (byte*)&state.HostMxcsr - start,
                _ => (byte*)&state.StageFlags - start,
            });
        }
    }
}
