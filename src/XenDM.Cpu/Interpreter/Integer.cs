using System;
using Iced.Intel;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Interpreter;

/// <summary>Integer instructions that are not frequent enough for a handler per width and addressing. Op.Dst is the operand size in bytes.</summary>
internal static unsafe class Integer
{
    /// <summary>MUL and one-operand IMUL.</summary>
    public static Op* Mul(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 0, size, out var b)) return null;
        var signed = Operands.Of(op)->Mnemonic == Mnemonic.Imul;
        var a = Operands.Get(c, 0, size);
        ulong low, high;
        bool overflow;
        if (size == 8)
        {
            if (signed)
            {
                high = (ulong)Math.BigMul((long)a, (long)b, out var l);
                low = (ulong)l;
                overflow = (long)high != l >> 63;
            }
            else
            {
                high = Math.BigMul(a, b, out low);
                overflow = high != 0;
            }

            c->R[0] = low;
            c->R[2] = high;
        }
        else
        {
            var product = signed ? (ulong)(Operands.SignExtend(a, size) * Operands.SignExtend(b, size)) : a * b;
            low = product & Operands.Mask(size);
            high = (product >> (size * 8)) & Operands.Mask(size);
            overflow = signed ? (long)product != Operands.SignExtend(low, size) : high != 0;
            if (size == 1)
            {
                *(ushort*)&c->R[0] = (ushort)product;
            }
            else
            {
                Operands.Set(c, 0, size, low);
                Operands.Set(c, 2 * 8, size, high);
            }
        }

        // SF, ZF, AF and PF are undefined; CPUs set SF and PF by the low half.
        c->FlagResult = Operands.SignExtend(low, size);
        c->FlagAux = 0;
        Flags.SetCfOf(c, overflow, overflow);
        return op + 1;
    }

    /// <summary>DIV: the quotient must fit (SDM 2, DIV).</summary>
    public static Op* Div(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 0, size, out var d)) return null;
        if (d == 0) return Exits.Raise(c, op, Vectors.De, 0);
        if (size == 8)
        {
            ulong high = c->R[2], low = c->R[0];
            if (high >= d) return Exits.Raise(c, op, Vectors.De, 0);
            if (high == 0)
            {
                (c->R[0], c->R[2]) = (low / d, low % d);
            }
            else
            {
                var n = new UInt128(high, low);
                var q = n / d;
                c->R[0] = (ulong)q;
                c->R[2] = (ulong)(n - (q * d));
            }

            return op + 1;
        }

        var dividend = size == 1 ? (ushort)c->R[0] : (Operands.Get(c, 2 * 8, size) << (size * 8)) | Operands.Get(c, 0, size);
        var quotient = dividend / d;
        if (quotient > Operands.Mask(size)) return Exits.Raise(c, op, Vectors.De, 0);
        PutDivision(c, size, quotient, dividend % d);
        return op + 1;
    }

    public static Op* Idiv(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 0, size, out var value)) return null;
        var d = Operands.SignExtend(value, size);
        if (d == 0) return Exits.Raise(c, op, Vectors.De, 0);
        if (size == 8)
        {
            var n = new Int128(c->R[2], c->R[0]);
            var q = n / d;
            if (q < long.MinValue || q > long.MaxValue) return Exits.Raise(c, op, Vectors.De, 0);
            c->R[0] = (ulong)(long)q;
            c->R[2] = (ulong)(long)(n - (q * d));
            return op + 1;
        }

        var dividend = size == 1 ? (short)c->R[0] : size == 2 ? (int)(((uint)(ushort)c->R[2] << 16) | (ushort)c->R[0]) : (long)((c->R[2] << 32) | (uint)c->R[0]);
        if (dividend == long.MinValue && d == -1) return Exits.Raise(c, op, Vectors.De, 0);
        var quotient = dividend / d;
        if (quotient != Operands.SignExtend((ulong)quotient & Operands.Mask(size), size)) return Exits.Raise(c, op, Vectors.De, 0);
        PutDivision(c, size, (ulong)quotient, (ulong)(dividend % d));
        return op + 1;
    }

    private static void PutDivision(CpuState* c, int size, ulong quotient, ulong remainder)
    {
        if (size == 1)
        {
            *(ushort*)&c->R[0] = (ushort)((byte)quotient | ((ulong)(byte)remainder << 8));
            return;
        }

        Operands.Set(c, 0, size, quotient);
        Operands.Set(c, 2 * 8, size, remainder);
    }

    /// <summary>CBW, CWDE, CDQE (Dst: the new width) and CWD, CDQ, CQO.</summary>
    public static Op* Widen(CpuState* c, Op* op)
    {
        int size = op->Dst;
        Operands.Set(c, 0, size, (ulong)Operands.SignExtend(Operands.Get(c, 0, size / 2), size / 2));
        return op + 1;
    }

    public static Op* SignToDx(CpuState* c, Op* op)
    {
        int size = op->Dst;
        Operands.Set(c, 2 * 8, size, (ulong)(Operands.SignExtend(Operands.Get(c, 0, size), size) >> 63));
        return op + 1;
    }

    /// <summary>SHLD, SHRD.</summary>
    public static Op* DoubleShift(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var count = (int)(i->GetOpKind(2) == OpKind.Register ? c->R[1] : i->GetImmediate(2)) & (size == 8 ? 63 : 31);
        if (!Operands.ReadForWrite(c, op, 0, size, out var a) || !Operands.Read(c, op, 1, size, out var b)) return null;
        var r = a;
        var left = i->Mnemonic == Mnemonic.Shld;
        if (count != 0) r = size == 2 ? Shifts.Double<ushort>(c, a, b, count, left) : size == 4 ? Shifts.Double<uint>(c, a, b, count, left) : Shifts.Double<ulong>(c, a, b, count, left);
        return Operands.Write(c, op, 0, size, r) ? op + 1 : null;
    }

    /// <summary>BT, BTS, BTR, BTC in memory: a register index reaches any distance from the operand (SDM 2, BT).</summary>
    public static Op* BitMemory(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var kind = i->Mnemonic switch { Mnemonic.Bts => 1, Mnemonic.Btr => 2, Mnemonic.Btc => 3, _ => 0 };
        ulong displace = 0;
        int index;
        if (i->GetOpKind(1) == OpKind.Register)
        {
            var distance = Operands.SignExtend(Operands.Get(c, Registers.Offset(i->Op1Register), size), size);
            index = (int)distance & ((size * 8) - 1);
            displace = (ulong)((distance >> (size == 2 ? 4 : size == 4 ? 5 : 6)) * size);
        }
        else
        {
            index = (int)i->GetImmediate(1) & ((size * 8) - 1);
        }

        if (!Operands.Linear(c, op, size, kind != 0, displace, out var at)) return null;
        ulong a;
        if (kind == 0)
        {
            if (!Operands.Load(c, op, at, size, out a)) return null;
            Shifts.Bit(c, a, index, 0);
            return op + 1;
        }

        if (!Memory.ReadForWrite(c, op, at, size, out a)) return null;
        return Operands.Store(c, op, at, size, Shifts.Bit(c, a, index, kind)) ? op + 1 : null;
    }

    public static Op* BitScan(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 1, size, out var a)) return null;
        var i = Operands.Of(op);
        var kind = i->Mnemonic switch { Mnemonic.Bsf => 0, Mnemonic.Bsr => 1, Mnemonic.Tzcnt => 2, Mnemonic.Lzcnt => 3, _ => 4 };
        var found = size == 2 ? Shifts.Scan<ushort>(c, a, kind, out var r) : size == 4 ? Shifts.Scan<uint>(c, a, kind, out r) : Shifts.Scan<ulong>(c, a, kind, out r);
        if (found) Operands.Set(c, Registers.Offset(i->Op0Register), size, r);
        return op + 1;
    }

    public static Op* Cmpxchg(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.ReadForWrite(c, op, 0, size, out var a) || !Operands.Read(c, op, 1, size, out var b)) return null;
        var accumulator = Operands.Get(c, 0, size);
        var equal = accumulator == a;
        // Memory is written either way; a register only when equal.
        if ((equal || Operands.Of(op)->GetOpKind(0) != OpKind.Register) && !Operands.Write(c, op, 0, size, equal ? b : a)) return null;
        switch (size)
        {
            case 1: Sub.Run<byte>(c, accumulator, a); break;
            case 2: Sub.Run<ushort>(c, accumulator, a); break;
            case 4: Sub.Run<uint>(c, accumulator, a); break;
            default: Sub.Run<ulong>(c, accumulator, a); break;
        }

        if (!equal) Operands.Set(c, 0, size, a);
        return op + 1;
    }

    /// <summary>CMPXCHG8B and CMPXCHG16B (Dst: half the size).</summary>
    public static Op* CmpxchgPair(CpuState* c, Op* op)
    {
        int half = op->Dst;
        if (!Operands.Linear(c, op, half * 2, true, out var at)) return null;
        if (half == 8 && (at & 15) != 0) return Exits.Protection(c, op);
        if (!Memory.Probe(c, op, at, half * 2, Access.Write)) return null;
        if (!Operands.Load(c, op, at, half, out var low) || !Operands.Load(c, op, at + (ulong)half, half, out var high)) return null;
        var equal = low == Operands.Get(c, 0, half) && high == Operands.Get(c, 2 * 8, half);
        var newLow = equal ? Operands.Get(c, 3 * 8, half) : low;
        var newHigh = equal ? Operands.Get(c, 8, half) : high;
        if (!Operands.Store(c, op, at, half, newLow) || !Operands.Store(c, op, at + (ulong)half, half, newHigh)) return null;
        if (!equal)
        {
            Operands.Set(c, 0, half, low);
            Operands.Set(c, 2 * 8, half, high);
        }

        var flags = Flags.GetArithmetic(c);
        Flags.SetArithmetic(c, equal ? flags | Flags.Zf : flags & ~Flags.Zf);
        return op + 1;
    }

    public static Op* Xadd(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.ReadForWrite(c, op, 0, size, out var a)) return null;
        var register = Registers.Offset(Operands.Of(op)->Op1Register);
        var b = Operands.Get(c, register, size);
        var before = (c->FlagResult, c->FlagAux);
        var r = size switch
        {
            1 => Add.Run<byte>(c, a, b),
            2 => Add.Run<ushort>(c, a, b),
            4 => Add.Run<uint>(c, a, b),
            _ => Add.Run<ulong>(c, a, b),
        };
        if (Operands.Of(op)->GetOpKind(0) != OpKind.Register)
        {
            if (!Operands.Write(c, op, 0, size, r & Operands.Mask(size)))
            {
                (c->FlagResult, c->FlagAux) = before;
                return null;
            }

            Operands.Set(c, register, size, a);
            return op + 1;
        }

        // XADD of a register with itself leaves the sum.
        Operands.Set(c, register, size, a);
        return Operands.Write(c, op, 0, size, r & Operands.Mask(size)) ? op + 1 : null;
    }

    public static Op* Movbe(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 1, size, out var value)) return null;
        value = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(value) >> (64 - (size * 8));
        return Operands.Write(c, op, 0, size, value) ? op + 1 : null;
    }

    /// <summary>ADCX, ADOX: additions through CF or OF alone.</summary>
    public static Op* AdcOne(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 1, size, out var b)) return null;
        var register = Registers.Offset(Operands.Of(op)->Op0Register);
        var a = Operands.Get(c, register, size);
        var useCf = Operands.Of(op)->Mnemonic == Mnemonic.Adcx;
        bool cf = Flags.GetCf(c), of = Flags.GetOf(c);
        var carry = useCf ? cf : of;
        var sum = new UInt128(0, a) + b + (carry ? 1u : 0u);
        Operands.Set(c, register, size, (ulong)sum);
        var overflow = (sum >> (size * 8)) != 0;
        Flags.SetCfOf(c, useCf ? overflow : cf, useCf ? of : overflow);
        return op + 1;
    }

    /// <summary>Memory operands of PUSH and POP; segment registers go through <see cref="SystemInstructions"/>.</summary>
    public static Op* PushMemory(CpuState* c, Op* op)
    {
        int size = op->Dst;
        return Operands.ReadMemory(c, op, size, 0, out var value) && Operands.Push(c, op, size, value) ? op + 1 : null;
    }

    /// <summary>POP to memory computes an address with the stack pointer after the pop (SDM 2, POP).</summary>
    public static Op* PopMemory(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Peek(c, op, size, 0, out var value)) return null;
        var saved = c->R[4];
        Operands.MoveStack(c, size);
        if (Operands.WriteMemory(c, op, size, 0, value)) return op + 1;
        c->R[4] = saved;
        return null;
    }

    public static Op* PushAll(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var saved = c->R[4];
        for (var r = 0; r < 8; r++)
        {
            if (Operands.Push(c, op, size, (r == 4 ? saved : c->R[r]) & Operands.Mask(size))) continue;
            c->R[4] = saved;
            return null;
        }

        return op + 1;
    }

    public static Op* PopAll(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var values = stackalloc ulong[8];
        for (var r = 7; r >= 0; r--)
            if (!Operands.Peek(c, op, size, (7 - r) * size, out values[r])) return null;
        for (var r = 0; r < 8; r++)
            if (r != 4) Operands.Set(c, (byte)(r * 8), size, values[r]);
        Operands.MoveStack(c, 8 * size);
        return op + 1;
    }

    public static Op* Enter(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var level = i->GetImmediate(1) & 31;
        var saved = c->R[4];
        var frame = c->R[5];
        if (!Operands.Push(c, op, size, c->R[5] & Operands.Mask(size))) return null;
        var top = c->R[4];
        var at = frame;
        for (ulong n = 1; n < level; n++)
        {
            at -= (ulong)size;
            if (ReadFrame(c, op, at, size, out var link) && Operands.Push(c, op, size, link)) continue;
            c->R[4] = saved;
            return null;
        }

        if (level > 0 && !Operands.Push(c, op, size, top & Operands.Mask(size)))
        {
            c->R[4] = saved;
            return null;
        }

        Operands.MoveStack(c, -(long)(i->GetImmediate(0) & 0xffff));
        // The new top must be writable (SDM 2, ENTER).
        var ok = (c->Mode & 3) == 2 ? Memory.Probe(c, op, c->R[4], size, Access.Write)
            : Address.Segmented(c, op, (uint)Operands.StackPointer(c), Segment.Ss, size, true, out var linear) && Memory.Probe(c, op, linear, size, Access.Write);
        if (!ok)
        {
            c->R[4] = saved;
            return null;
        }

        Operands.Set(c, 5 * 8, size, top);
        return op + 1;
    }

    private static bool ReadFrame(CpuState* c, Op* op, ulong pointer, int size, out ulong value)
    {
        value = 0;
        if ((c->Mode & 3) == 2) return Operands.Load(c, op, pointer, size, out value);
        var offset = (c->Mode & CpuState.ModeStack32) != 0 ? (uint)pointer : (ushort)pointer;
        return Address.Segmented(c, op, offset, Segment.Ss, size, false, out var at) && Operands.Load(c, op, at, size, out value);
    }

    public static Op* Xlat(CpuState* c, Op* op)
    {
        // Base is RBX and the index AL, which has no register offset of its own as an address: the displacement brings it in.
        if (!Operands.Linear(c, op, 1, false, (byte)c->R[0], out var at) || !Memory.Read<byte>(c, op, at, out var value)) return null;
        *(byte*)&c->R[0] = (byte)value;
        return op + 1;
    }

    public static Op* FlagBits(CpuState* c, Op* op)
    {
        switch (Operands.Of(op)->Mnemonic)
        {
            case Mnemonic.Clc: Flags.SetCf(c, false); break;
            case Mnemonic.Stc: Flags.SetCf(c, true); break;
            case Mnemonic.Cmc: Flags.SetCf(c, !Flags.GetCf(c)); break;
            case Mnemonic.Cld: c->Eflags &= ~Flags.Df; break;
            case Mnemonic.Std: c->Eflags |= Flags.Df; break;
            case Mnemonic.Lahf: *((byte*)c + 1) = (byte)((Flags.GetArithmetic(c) & 0xd5) | 2); break;
            case Mnemonic.Sahf: Flags.SetArithmetic(c, (*((byte*)c + 1) & 0xd5u) | (Flags.GetArithmetic(c) & Flags.Of)); break;
            case Mnemonic.Salc: *(byte*)c = Flags.GetCf(c) ? (byte)0xff : (byte)0; break;
            default: break;
        }

        return op + 1;
    }

    /// <summary>AAA, AAS, DAA, DAS, AAM, AAD (SDM 2).</summary>
    public static Op* Decimal(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        byte al = *(byte*)c, ah = *((byte*)c + 1);
        bool af = Flags.GetAf(c), cf = Flags.GetCf(c);
        switch (i->Mnemonic)
        {
            case Mnemonic.Aaa or Mnemonic.Aas:
                {
                    var adjust = (al & 15) > 9 || af;
                    var ax = (ushort)c->R[0];
                    if (adjust) ax = i->Mnemonic == Mnemonic.Aaa ? (ushort)(ax + 0x106) : (ushort)(ax - 0x106);
                    *(ushort*)c = (ushort)(ax & 0xff0f);
                    Result(c, *(byte*)c, adjust, adjust);
                    break;
                }

            case Mnemonic.Daa:
                {
                    var low = (al & 15) > 9 || af;
                    var high = al > 0x99 || cf;
                    var r = (byte)(al + (low ? 6 : 0) + (high ? 0x60 : 0));
                    *(byte*)c = r;
                    Result(c, r, high, low);
                    break;
                }

            case Mnemonic.Das:
                {
                    var low = (al & 15) > 9 || af;
                    var high = al > 0x99 || cf;
                    var r = (byte)(al - (low ? 6 : 0) - (high ? 0x60 : 0));
                    *(byte*)c = r;
                    Result(c, r, high || (low && (al < 6 || cf)), low);
                    break;
                }

            case Mnemonic.Aam:
                {
                    var divisor = (byte)i->GetImmediate(0);
                    if (divisor == 0) return Exits.Raise(c, op, Vectors.De, 0);
                    *(ushort*)c = (ushort)((al % divisor) | (al / divisor << 8));
                    Result(c, *(byte*)c, false, false);
                    break;
                }

            default:
                {
                    var r = (byte)(al + (ah * (byte)i->GetImmediate(0)));
                    *(ushort*)c = r;
                    Result(c, r, false, false);
                    break;
                }
        }

        return op + 1;

        static void Result(CpuState* c, byte r, bool cf, bool af)
        {
            Flags.SetLogic<byte>(c, r);
            c->FlagAux = af ? 8u : 0;
            Flags.SetCfOf(c, cf, false);
        }
    }

    public static Op* Bound(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.ReadMemory(c, op, size, 0, out var low) || !Operands.ReadMemory(c, op, size, (ulong)size, out var high)) return null;
        var index = Operands.SignExtend(Operands.Get(c, Registers.Offset(Operands.Of(op)->Op0Register), size), size);
        return index < Operands.SignExtend(low, size) || index > Operands.SignExtend(high, size) ? Exits.Raise(c, op, Vectors.Br, 0) : op + 1;
    }

    public static Op* Nop(CpuState* c, Op* op) => op + 1;

    public static Op* Pause(CpuState* c, Op* op) => c->YieldOnPause == 0 ? op + 1 : Exits.AfterInstruction(c, op, ExitKind.Yield);

    /// <summary>An indirect near branch outside 64-bit mode, or with a 16-bit operand.</summary>
    public static Op* JumpIndirect(CpuState* c, Op* op)
    {
        int size = op->Dst;
        return Operands.Read(c, op, 0, size, out var address) && Branches.Target(c, op, address, size, out var ip) ? Branches.Jump(c, op, ip) : null;
    }

    public static Op* CallIndirect(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (!Operands.Read(c, op, 0, size, out var address) || !Branches.Target(c, op, address, size, out var ip)) return null;
        return Operands.Push(c, op, size, Exits.NextIp(c, op) & Operands.Mask(size)) ? Branches.Jump(c, op, ip) : null;
    }

    /// <summary>RDRAND and RDSEED: CF says that there is a number.</summary>
    public static Op* Random(CpuState* c, Op* op)
    {
        Operands.Set(c, Registers.Offset(Operands.Of(op)->Op0Register), op->Dst, X86Cpu.Of(c).Bus.Random());
        Flags.SetArithmetic(c, Flags.Cf);
        return op + 1;
    }
}
