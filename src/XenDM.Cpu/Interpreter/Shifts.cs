using System.Numerics;
using System.Runtime.CompilerServices;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Interpreter;

/// <summary>A shift or rotation by a count that is masked and not zero (SDM 2, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR).</summary>
internal unsafe interface IShift
{
    static abstract ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged;
}

internal readonly struct Shl : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        var r = a << count;
        var carry = count <= bits && ((a >> (bits - count)) & 1) != 0;
        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, carry, carry != (((r >> (bits - 1)) & 1) != 0));
        return r;
    }
}

internal readonly struct Shr : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var r = a >> count;
        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, ((a >> (count - 1)) & 1) != 0, (a >> (Width.Bits<T>() - 1)) != 0);
        return r;
    }
}

internal readonly struct Sar : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var signed = Width.SignExtend<T>(a);
        var r = (ulong)(signed >> count);
        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, ((signed >> (count - 1)) & 1) != 0, false);
        return r;
    }
}

internal readonly struct Rol : IShift
{
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        var n = count & (bits - 1);
        var r = n == 0 ? a : (a << n) | (a >> (bits - n));
        var carry = (r & 1) != 0;
        Flags.SetCfOf(c, carry, carry != (((r >> (bits - 1)) & 1) != 0));
        return r;
    }
}

internal readonly struct Ror : IShift
{
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        var n = count & (bits - 1);
        var r = n == 0 ? a : (a >> n) | (a << (bits - n));
        var carry = ((r >> (bits - 1)) & 1) != 0;
        Flags.SetCfOf(c, carry, carry != (((r >> (bits - 2)) & 1) != 0));
        return r;
    }
}

internal readonly struct Rcl : IShift
{
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        var carry = Flags.GetCf(c);
        for (var n = count % (bits + 1); n > 0; n--)
        {
            var top = ((a >> (bits - 1)) & 1) != 0;
            a = Width.ZeroExtend<T>((a << 1) | (carry ? 1u : 0));
            carry = top;
        }

        Flags.SetCfOf(c, carry, carry != (((a >> (bits - 1)) & 1) != 0));
        return a;
    }
}

internal readonly struct Rcr : IShift
{
    public static unsafe ulong Run<T>(CpuState* c, ulong a, int count) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        var carry = Flags.GetCf(c);
        for (var n = count % (bits + 1); n > 0; n--)
        {
            var low = (a & 1) != 0;
            a = (a >> 1) | ((carry ? 1ul : 0) << (bits - 1));
            carry = low;
        }

        Flags.SetCfOf(c, carry, (((a >> (bits - 1)) ^ (a >> (bits - 2))) & 1) != 0);
        return a;
    }
}

internal static unsafe class Shifts
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Mask<T>(ulong count) where T : unmanaged => (int)count & (sizeof(T) == 8 ? 63 : 31);

    /// <summary>By a constant that is masked and not zero.</summary>
    public static Op* RegImm<TOp, T>(CpuState* c, Op* op) where TOp : struct, IShift where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, TOp.Run<T>(c, Width.Reg<T>(c, op->Dst), (int)op->Imm));
        return op + 1;
    }

    public static Op* RegCl<TOp, T>(CpuState* c, Op* op) where TOp : struct, IShift where T : unmanaged
    {
        var count = Mask<T>(c->R[1]);
        var a = Width.Reg<T>(c, op->Dst);
        Width.SetReg<T>(c, op->Dst, count == 0 ? a : TOp.Run<T>(c, a, count));
        return op + 1;
    }

    /// <summary>Memory by CL (Src not 0) or a constant. A count of zero still accesses memory.</summary>
    public static Op* Mem<TOp, T, TA>(CpuState* c, Op* op) where TOp : struct, IShift where T : unmanaged where TA : struct, IAddressing
    {
        var count = op->Src != 0 ? Mask<T>(c->R[1]) : (int)op->Imm;
        if (!TA.Linear(c, op, sizeof(T), true, out var at)) return null;
        var host = Memory.InPlace<T>(c, at);
        if (host != null)
        {
            if (count != 0) Width.Store<T>(host, TOp.Run<T>(c, Width.Load<T>(host), count));
            return op + 1;
        }

        if (!Memory.ReadForWrite(c, op, at, sizeof(T), out var a)) return null;
        var r = count == 0 ? a : Width.ZeroExtend<T>(TOp.Run<T>(c, a, count));
        return Memory.WriteSlow(c, op, at, sizeof(T), r) ? op + 1 : null;
    }

    /// <summary>SHLD and SHRD. A count above the width (16-bit operands) is undefined; it is taken modulo 32 of both operands side by side.</summary>
    public static ulong Double<T>(CpuState* c, ulong a, ulong b, int count, bool left) where T : unmanaged
    {
        var bits = Width.Bits<T>();
        if (count > bits)
        {
            // What real CPUs do with 16-bit operands: the source shows up a second time.
            count -= bits;
            (a, b) = (b, a);
        }

        ulong r;
        bool carry;
        if (left)
        {
            carry = ((a >> (bits - count)) & 1) != 0;
            r = count == bits ? b : (a << count) | (b >> (bits - count));
        }
        else
        {
            carry = ((a >> (count - 1)) & 1) != 0;
            r = count == bits ? b : (a >> count) | (b << (bits - count));
        }

        r = Width.ZeroExtend<T>(r);
        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, carry, (((r ^ a) >> (bits - 1)) & 1) != 0);
        return r;
    }

    /// <summary>BSWAP of 32 or 64 bits; of 16 bits it is undefined, and CPUs give zero.</summary>
    public static Op* Bswap<T>(CpuState* c, Op* op) where T : unmanaged
    {
        var a = Width.Reg<T>(c, op->Dst);
        Width.SetReg<T>(c, op->Dst, sizeof(T) == 8 ? System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a)
            : sizeof(T) == 4 ? System.Buffers.Binary.BinaryPrimitives.ReverseEndianness((uint)a) : 0);
        return op + 1;
    }

    /// <summary>IMUL with two and three operands: Dst = Src × Imm or Dst × Src.</summary>
    public static ulong Multiply<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        long x = Width.SignExtend<T>(a), y = Width.SignExtend<T>(b);
        ulong r;
        bool overflow;
        if (sizeof(T) == 8)
        {
            var high = System.Math.BigMul(x, y, out var low);
            r = (ulong)low;
            overflow = high != low >> 63;
        }
        else
        {
            var product = x * y;
            r = (ulong)product;
            overflow = product != Width.SignExtend<T>(r);
        }

        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, overflow, overflow);
        return r;
    }

    public static Op* ImulRegReg<T>(CpuState* c, Op* op) where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, Multiply<T>(c, Width.Reg<T>(c, op->Dst), Width.Reg<T>(c, op->Src)));
        return op + 1;
    }

    public static Op* ImulRegMem<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), false, out var at) || !Memory.Read<T>(c, op, at, out var b)) return null;
        Width.SetReg<T>(c, op->Dst, Multiply<T>(c, Width.Reg<T>(c, op->Dst), b));
        return op + 1;
    }

    public static Op* ImulRegRegImm<T>(CpuState* c, Op* op) where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, Multiply<T>(c, Width.Reg<T>(c, op->Src), op->Imm));
        return op + 1;
    }

    public static Op* ImulRegMemImm<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), false, out var at) || !Memory.Read<T>(c, op, at, out var a)) return null;
        Width.SetReg<T>(c, op->Dst, Multiply<T>(c, a, op->Imm));
        return op + 1;
    }

    /// <summary>BT with a register bit base. Aux 0 BT, 1 BTS, 2 BTR, 3 BTC; the index is Src, or Imm when Src is 255.</summary>
    public static Op* BitReg<T>(CpuState* c, Op* op) where T : unmanaged
    {
        var index = (int)(op->Src == 255 ? op->Imm : Width.Reg<T>(c, op->Src)) & (Width.Bits<T>() - 1);
        var a = Width.Reg<T>(c, op->Dst);
        var r = Bit(c, a, index, op->Aux);
        if (op->Aux != 0) Width.SetReg<T>(c, op->Dst, r);
        return op + 1;
    }

    public static ulong Bit(CpuState* c, ulong a, int index, int kind)
    {
        Flags.SetCf(c, ((a >> index) & 1) != 0);
        var bit = 1ul << index;
        return kind switch
        {
            1 => a | bit,
            2 => a & ~bit,
            3 => a ^ bit,
            _ => a,
        };
    }

    /// <summary>BSF, BSR, TZCNT, LZCNT, POPCNT: Aux 0 to 4. BSF and BSR of zero leave the destination (SDM 2, and what CPUs do).</summary>
    public static bool Scan<T>(CpuState* c, ulong a, int kind, out ulong r) where T : unmanaged
    {
        var bits = (uint)Width.Bits<T>();
        r = 0;
        switch (kind)
        {
            case 0 or 1:
                Flags.SetLogic<T>(c, a);
                if (a == 0) return false;
                r = kind == 0 ? (ulong)BitOperations.TrailingZeroCount(a) : (ulong)BitOperations.Log2(a);
                return true;
            case 2:
                r = a == 0 ? bits : (ulong)BitOperations.TrailingZeroCount(a);
                break;
            case 3:
                r = a == 0 ? bits : bits - 1 - (ulong)BitOperations.Log2(a);
                break;
            default:
                r = (ulong)BitOperations.PopCount(a);
                Flags.SetLogic<T>(c, r);
                // POPCNT clears all but ZF.
                Flags.SetArithmetic(c, a == 0 ? Flags.Zf : 0);
                return true;
        }

        Flags.SetLogic<T>(c, r);
        Flags.SetCfOf(c, a == 0, false);
        return true;
    }
}
