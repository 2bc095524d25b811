using System;
using Iced.Intel;
using XenDM.Cpu.Fpu;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Decode;

/// <summary>Turns one decoded instruction into an <see cref="Op"/>: chooses its handler and lays out its operands.</summary>
internal sealed unsafe class Translator
{
    private readonly HostCode _host;
    private readonly Arena _arena;

    public Translator(HostCode host, Arena arena)
    {
        _host = host;
        _arena = arena;
    }

    /// <param name="blockIp">IP of the block's first instruction.</param>
    /// <param name="mode">As in <see cref="CpuState.Mode"/>.</param>
    /// <returns>True when the block ends with this instruction.</returns>
    public bool Translate(in Instruction i, Op* op, ulong blockIp, uint mode)
    {
        var long64 = (mode & 3) == 2;
        var stack = long64 ? 2 : (mode & CpuState.ModeStack32) != 0 ? 1 : 0;
        op->Base = op->Index = CpuState.ZeroRegister * 8;
        op->Seg = Segment.None;
        var a = Address(in i, op, blockIp, long64);
        op->Aux = (byte)a;
        var memory = MemoryOperand(in i);

        switch (i.Mnemonic)
        {
            case Mnemonic.Mov: return Move(in i, op, a);
            case Mnemonic.Add: return Binary<Add>(in i, op, a);
            case Mnemonic.Adc: return Binary<Adc>(in i, op, a);
            case Mnemonic.Sub: return Binary<Sub>(in i, op, a);
            case Mnemonic.Sbb: return Binary<Sbb>(in i, op, a);
            case Mnemonic.Cmp: return Binary<Cmp>(in i, op, a);
            case Mnemonic.And: return Binary<And>(in i, op, a);
            case Mnemonic.Or: return Binary<Or>(in i, op, a);
            case Mnemonic.Xor: return Binary<Xor>(in i, op, a);
            case Mnemonic.Test: return Binary<Test>(in i, op, a);
            case Mnemonic.Inc: return Unary<Inc>(in i, op, a);
            case Mnemonic.Dec: return Unary<Dec>(in i, op, a);
            case Mnemonic.Neg: return Unary<Neg>(in i, op, a);
            case Mnemonic.Not: return Unary<Not>(in i, op, a);
            case Mnemonic.Shl or Mnemonic.Sal: return Shift<Shl>(in i, op, a);
            case Mnemonic.Shr: return Shift<Shr>(in i, op, a);
            case Mnemonic.Sar: return Shift<Sar>(in i, op, a);
            case Mnemonic.Rol: return Shift<Rol>(in i, op, a);
            case Mnemonic.Ror: return Shift<Ror>(in i, op, a);
            case Mnemonic.Rcl: return Shift<Rcl>(in i, op, a);
            case Mnemonic.Rcr: return Shift<Rcr>(in i, op, a);
            case Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd:
                {
                    var from = Size(in i, 1);
                    var to = Size(in i, 0);
                    op->Dst = Registers.Offset(i.Op0Register);
                    if (i.Op1Kind == OpKind.Register) op->Src = Registers.Offset(i.Op1Register);
                    if (from == to) return Set(op, memory < 0 ? Handlers.MoveRegReg(to) : Handlers.MoveRegMem(to, a));
                    return Set(op, Handlers.Extend(i.Mnemonic != Mnemonic.Movzx, to, from, memory >= 0, a));
                }

            case Mnemonic.Lea:
                op->Dst = Registers.Offset(i.Op0Register);
                op->Aux = (byte)(a is Operands.Long ? 8 : a == Operands.Seg16 ? 2 : 4);
                return Set(op, Handlers.Lea(Size(in i, 0), a));
            case Mnemonic.Xchg:
                if (memory < 0)
                {
                    op->Dst = Registers.Offset(i.Op0Register);
                    op->Src = Registers.Offset(i.Op1Register);
                    return Set(op, Handlers.Xchg(Size(in i, 0), false, a));
                }

                op->Src = Registers.Offset(memory == 0 ? i.Op1Register : i.Op0Register);
                return Set(op, Handlers.Xchg(Size(in i, 0), true, a));
            case Mnemonic.Push:
                return Push(in i, op, stack, memory);
            case Mnemonic.Pop:
                return Pop(in i, op, stack, memory);
            case Mnemonic.Leave:
                op->Base = 5 * 8;
                return Set(op, Handlers.Leave(i.Code == Code.Leavew ? 2 : i.Code == Code.Leaved ? 4 : 8, stack));
            case Mnemonic.Jmp when i.Op0Kind is OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64:
                Target(in i, op, blockIp);
                Set(op, !long64 ? (Handler)(&Branches.JumpLegacy) : SamePage(in i, blockIp) ? (Handler)(&Branches.JumpNear64) : (Handler)(&Branches.JumpFar64));
                return true;
            case Mnemonic.Call when i.Op0Kind is OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64:
                Target(in i, op, blockIp);
                op->Base = 4 * 8;
                Set(op, Handlers.Call(op->Scale, stack));
                return true;
            case Mnemonic.Jmp or Mnemonic.Call when i.IsJmpFarIndirect || i.IsCallFarIndirect || i.Op0Kind is OpKind.FarBranch16 or OpKind.FarBranch32:
                Cold(in i, op, &FarTransfers.Direct, FarSize(in i));
                return true;
            case Mnemonic.Jmp:
                if (!long64 || Size(in i, 0) != 8)
                {
                    Cold(in i, op, &Integer.JumpIndirect, Size(in i, 0));
                    return true;
                }

                if (memory < 0)
                {
                    op->Dst = Registers.Offset(i.Op0Register);
                    Set(op, (Handler)(&Branches.JumpReg64));
                }
                else
                {
                    Set(op, a == Operands.Long ? (Handler)(&Branches.JumpMem64<Long>) : (Handler)(&Branches.JumpMem64<Long32>));
                }

                return true;
            case Mnemonic.Call:
                if (!long64 || Size(in i, 0) != 8)
                {
                    Cold(in i, op, &Integer.CallIndirect, Size(in i, 0));
                    return true;
                }

                if (memory < 0)
                {
                    op->Dst = Registers.Offset(i.Op0Register);
                    Set(op, (Handler)(&Branches.CallReg64));
                }
                else
                {
                    Set(op, a == Operands.Long ? (Handler)(&Branches.CallMem64<Long>) : (Handler)(&Branches.CallMem64<Long32>));
                }

                return true;
            case Mnemonic.Ret:
                op->Imm = i.OpCount > 0 ? (ushort)i.GetImmediate(0) : 0u;
                op->Base = 4 * 8;
                Set(op, Handlers.Ret(i.Code is Code.Retnw or Code.Retnw_imm16 ? 2 : i.Code is Code.Retnd or Code.Retnd_imm16 ? 4 : 8, stack));
                return true;
            case Mnemonic.Retf:
                Cold(in i, op, &FarTransfers.Return, i.Code is Code.Retfw or Code.Retfw_imm16 ? 2 : i.Code is Code.Retfd or Code.Retfd_imm16 ? 4 : 8);
                return true;
            case Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq:
                Cold(in i, op, &FarTransfers.InterruptReturn, i.Code == Code.Iretw ? 2 : i.Code == Code.Iretd ? 4 : 8);
                return true;
            case Mnemonic.Jcxz or Mnemonic.Jecxz or Mnemonic.Jrcxz or Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                Target(in i, op, blockIp);
                op->Aux = i.Mnemonic switch { Mnemonic.Loop => 1, Mnemonic.Loope => 2, Mnemonic.Loopne => 3, _ => 0 };
                op->Src = (byte)CountSize(i.Code);
                return Set(op, (Handler)(&Branches.Loop));
            default:
                if (i.IsJccShortOrNear)
                {
                    Target(in i, op, blockIp);
                    return Set(op, Handlers.Jcc(ConditionOf(i.ConditionCode), !long64 ? 2 : SamePage(in i, blockIp) ? 0 : 1));
                }

                return Others(in i, op, a, memory, stack, long64);
        }
    }

    private bool Others(in Instruction i, Op* op, int a, int memory, int stack, bool long64)
    {
        var size = i.OpCount > 0 ? Size(in i, 0) : 0;
        switch (i.ConditionCode)
        {
            case ConditionCode.None:
                break;
            default:
                op->Aux = (byte)ConditionOf(i.ConditionCode);
                if (i.Mnemonic is >= Mnemonic.Seta and <= Mnemonic.Sets)
                {
                    if (memory < 0) op->Dst = Registers.Offset(i.Op0Register);
                    return Set(op, Handlers.Setcc(memory >= 0, a));
                }

                if (!IsCmov(i.Mnemonic)) break;
                op->Dst = Registers.Offset(i.Op0Register);
                if (memory < 0) op->Src = Registers.Offset(i.Op1Register);
                return Set(op, Handlers.Cmov(size, memory >= 0, a));
        }

        op->Aux = (byte)a;
        switch (i.Mnemonic)
        {
            case Mnemonic.Pause:
                return Set(op, (Handler)(&Integer.Pause));
            case Mnemonic.Nop or Mnemonic.Endbr32 or Mnemonic.Endbr64 or Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence or Mnemonic.Reservednop
                or Mnemonic.Prefetchnta or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetch or Mnemonic.Prefetchw
                or Mnemonic.Prefetchwt1 or Mnemonic.Prefetchit0 or Mnemonic.Prefetchit1 or Mnemonic.Cldemote or Mnemonic.Rdsspd or Mnemonic.Rdsspq:
                return Set(op, (Handler)(&Integer.Nop));
            case Mnemonic.Imul:
                if (i.OpCount == 1) return Cold(in i, op, &Integer.Mul, size);
                op->Dst = Registers.Offset(i.Op0Register);
                if (i.Op1Kind == OpKind.Register) op->Src = Registers.Offset(i.Op1Register);
                if (i.OpCount == 2) return Set(op, Handlers.Imul2(size, memory >= 0, a));
                op->Imm = i.GetImmediate(2) & Operands.Mask(size);
                return Set(op, Handlers.Imul3(size, memory >= 0, a));
            case Mnemonic.Mul: return Cold(in i, op, &Integer.Mul, size);
            case Mnemonic.Div: return Cold(in i, op, &Integer.Div, size);
            case Mnemonic.Idiv: return Cold(in i, op, &Integer.Idiv, size);
            case Mnemonic.Cbw: return Cold(in i, op, &Integer.Widen, 2);
            case Mnemonic.Cwde: return Cold(in i, op, &Integer.Widen, 4);
            case Mnemonic.Cdqe: return Cold(in i, op, &Integer.Widen, 8);
            case Mnemonic.Cwd: return Cold(in i, op, &Integer.SignToDx, 2);
            case Mnemonic.Cdq: return Cold(in i, op, &Integer.SignToDx, 4);
            case Mnemonic.Cqo: return Cold(in i, op, &Integer.SignToDx, 8);
            case Mnemonic.Shld or Mnemonic.Shrd: return Cold(in i, op, &Integer.DoubleShift, size);
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                if (memory >= 0) return Cold(in i, op, &Integer.BitMemory, size);
                op->Dst = Registers.Offset(i.Op0Register);
                op->Aux = i.Mnemonic switch { Mnemonic.Bts => 1, Mnemonic.Btr => 2, Mnemonic.Btc => 3, _ => 0 };
                if (i.Op1Kind == OpKind.Register)
                {
                    op->Src = Registers.Offset(i.Op1Register);
                }
                else
                {
                    op->Src = 255;
                    op->Imm = i.GetImmediate(1);
                }

                return Set(op, Handlers.BitReg(size));
            case Mnemonic.Bsf or Mnemonic.Bsr or Mnemonic.Tzcnt or Mnemonic.Lzcnt or Mnemonic.Popcnt: return Cold(in i, op, &Integer.BitScan, size);
            case Mnemonic.Bswap:
                op->Dst = Registers.Offset(i.Op0Register);
                return Set(op, Handlers.Bswap(size));
            case Mnemonic.Cmpxchg: return Cold(in i, op, &Integer.Cmpxchg, size);
            case Mnemonic.Cmpxchg8b: return Cold(in i, op, &Integer.CmpxchgPair, 4);
            case Mnemonic.Cmpxchg16b: return Cold(in i, op, &Integer.CmpxchgPair, 8);
            case Mnemonic.Xadd: return Cold(in i, op, &Integer.Xadd, size);
            case Mnemonic.Movbe: return Cold(in i, op, &Integer.Movbe, size);
            case Mnemonic.Adcx or Mnemonic.Adox: return Cold(in i, op, &Integer.AdcOne, size);
            case Mnemonic.Pusha: return Cold(in i, op, &Integer.PushAll, 2);
            case Mnemonic.Pushad: return Cold(in i, op, &Integer.PushAll, 4);
            case Mnemonic.Popa: return Cold(in i, op, &Integer.PopAll, 2);
            case Mnemonic.Popad: return Cold(in i, op, &Integer.PopAll, 4);
            case Mnemonic.Enter: return Cold(in i, op, &Integer.Enter, i.Code == Code.Enterw_imm16_imm8 ? 2 : i.Code == Code.Enterd_imm16_imm8 ? 4 : 8);
            case Mnemonic.Xlatb:
                op->Base = 3 * 8;
                op->Index = CpuState.ZeroRegister * 8;
                op->Seg = (byte)(long64 && i.MemorySegment is not (Register.FS or Register.GS) ? Segment.None : Registers.Segment(i.MemorySegment));
                op->Aux = (byte)(i.MemoryBase == Register.BX ? Operands.Seg16 : i.MemoryBase == Register.EBX ? long64 ? Operands.Long32 : Operands.Seg32 : Operands.Long);
                return Cold(in i, op, &Integer.Xlat, 1);
            case Mnemonic.Clc or Mnemonic.Stc or Mnemonic.Cmc or Mnemonic.Cld or Mnemonic.Std or Mnemonic.Lahf or Mnemonic.Sahf or Mnemonic.Salc: return Cold(in i, op, &Integer.FlagBits, 0);
            case Mnemonic.Aaa or Mnemonic.Aas or Mnemonic.Daa or Mnemonic.Das or Mnemonic.Aam or Mnemonic.Aad: return Cold(in i, op, &Integer.Decimal, 1);
            case Mnemonic.Bound: return Cold(in i, op, &Integer.Bound, size);
            case Mnemonic.Rdrand or Mnemonic.Rdseed: return Cold(in i, op, &Integer.Random, size);

            case Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsq: return String(in i, op, &Strings.Movs);
            case Mnemonic.Movsd when IsString(in i): return String(in i, op, &Strings.Movs);
            case Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq: return String(in i, op, &Strings.Stos);
            case Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq: return String(in i, op, &Strings.Lods);
            case Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq: return String(in i, op, &Strings.Scas);
            case Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsq: return String(in i, op, &Strings.Cmps);
            case Mnemonic.Cmpsd when IsString(in i): return String(in i, op, &Strings.Cmps);
            case Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd: return String(in i, op, &Strings.Ins);
            case Mnemonic.Outsb or Mnemonic.Outsw or Mnemonic.Outsd: return String(in i, op, &Strings.Outs);
            case Mnemonic.In: return Cold(in i, op, &PortAccess.In, size);
            case Mnemonic.Out: return Cold(in i, op, &PortAccess.Out, Size(in i, 1));
            default:
                if (!System(in i, op, size)) Units(in i, op, a);
                return _ends;
        }
    }

    /// <summary>Whether the instruction that was translated last ends its block.</summary>
    private bool _ends;

    /// <summary>Instructions of the operating system. False when the instruction is none.</summary>
    private bool System(in Instruction i, Op* op, int size)
    {
        _ends = false;
        switch (i.Mnemonic)
        {
            case Mnemonic.Hlt: return End(in i, op, &SystemInstructions.Hlt, 0);
            case Mnemonic.Cli: return Known(in i, op, &SystemInstructions.Cli, 0);
            case Mnemonic.Sti: return Known(in i, op, &SystemInstructions.Sti, 0);
            case Mnemonic.Pushf: return Known(in i, op, &SystemInstructions.Pushf, 2);
            case Mnemonic.Pushfd: return Known(in i, op, &SystemInstructions.Pushf, 4);
            case Mnemonic.Pushfq: return Known(in i, op, &SystemInstructions.Pushf, 8);
            case Mnemonic.Popf: return Known(in i, op, &SystemInstructions.Popf, 2);
            case Mnemonic.Popfd: return Known(in i, op, &SystemInstructions.Popf, 4);
            case Mnemonic.Popfq: return Known(in i, op, &SystemInstructions.Popf, 8);
            case Mnemonic.Int or Mnemonic.Int3 or Mnemonic.Int1: return End(in i, op, &SystemInstructions.Interrupt, 0);
            case Mnemonic.Into: return Known(in i, op, &SystemInstructions.Interrupt, 0);
            case Mnemonic.Cpuid: return Known(in i, op, &SystemInstructions.Cpuid, 0);
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp: return Known(in i, op, &SystemInstructions.Rdtsc, 0);
            case Mnemonic.Rdpid: return Known(in i, op, &SystemInstructions.Rdpid, 0);
            case Mnemonic.Rdpmc: return Known(in i, op, &SystemInstructions.Rdpmc, 0);
            case Mnemonic.Rdmsr: return Known(in i, op, &SystemInstructions.Rdmsr, 0);
            case Mnemonic.Wrmsr: return End(in i, op, &SystemInstructions.Wrmsr, 0);
            case Mnemonic.Clts: return Known(in i, op, &SystemInstructions.Clts, 0);
            case Mnemonic.Lmsw: return End(in i, op, &SystemInstructions.Lmsw, 2);
            case Mnemonic.Smsw: return Known(in i, op, &SystemInstructions.Smsw, size);
            case Mnemonic.Invlpg: return End(in i, op, &SystemInstructions.Invlpg, 0);
            case Mnemonic.Invpcid: return End(in i, op, &SystemInstructions.Invpcid, 0);
            case Mnemonic.Invd or Mnemonic.Wbinvd or Mnemonic.Wbnoinvd: return Known(in i, op, &SystemInstructions.CacheControl, 0);
            case Mnemonic.Clflush or Mnemonic.Clflushopt or Mnemonic.Clwb: return Known(in i, op, &SystemInstructions.CacheLine, 0);
            case Mnemonic.Monitor: return Known(in i, op, &SystemInstructions.Monitor, 0);
            case Mnemonic.Mwait: return Known(in i, op, &SystemInstructions.Mwait, 0);
            case Mnemonic.Lgdt or Mnemonic.Lidt or Mnemonic.Sgdt or Mnemonic.Sidt:
                return Known(in i, op, &SystemInstructions.TableRegister, i.Code is Code.Lgdt_m1632_16 or Code.Lidt_m1632_16 or Code.Sgdt_m1632_16 or Code.Sidt_m1632_16 ? 2 : 4);
            case Mnemonic.Sldt or Mnemonic.Str: return Known(in i, op, &SystemInstructions.StoreSelector, size);
            case Mnemonic.Lldt: return Known(in i, op, &SystemInstructions.Lldt, 2);
            case Mnemonic.Ltr: return Known(in i, op, &SystemInstructions.Ltr, 2);
            case Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw: return Known(in i, op, &SystemInstructions.Inspect, size);
            case Mnemonic.Arpl: return Known(in i, op, &SystemInstructions.Arpl, 2);
            case Mnemonic.Lds or Mnemonic.Les or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Lss:
                return i.Mnemonic == Mnemonic.Lss ? End(in i, op, &SystemInstructions.LoadFarPointer, size) : Known(in i, op, &SystemInstructions.LoadFarPointer, size);
            case Mnemonic.Syscall: return End(in i, op, &SystemInstructions.Syscall, 0);
            case Mnemonic.Sysret or Mnemonic.Sysretq: return End(in i, op, &SystemInstructions.Sysret, i.Mnemonic == Mnemonic.Sysretq ? 8 : 4);
            case Mnemonic.Sysenter: return End(in i, op, &SystemInstructions.Sysenter, 0);
            case Mnemonic.Sysexit or Mnemonic.Sysexitq: return End(in i, op, &SystemInstructions.Sysexit, i.Mnemonic == Mnemonic.Sysexitq ? 8 : 4);
            case Mnemonic.Swapgs: return Known(in i, op, &SystemInstructions.Swapgs, 0);
            case Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase: return Known(in i, op, &SystemInstructions.FsGsBase, size);
            case Mnemonic.Stac or Mnemonic.Clac: return Known(in i, op, &SystemInstructions.SmapAc, 0);
            case Mnemonic.Xgetbv: return Known(in i, op, &SystemInstructions.Xgetbv, 0);
            case Mnemonic.Xsetbv: return End(in i, op, &SystemInstructions.Xsetbv, 0);
            case Mnemonic.Vmcall or Mnemonic.Vmmcall: return End(in i, op, &SystemInstructions.Hypercall, 0);
            default:
                return false;
        }
    }

    private bool Known(in Instruction i, Op* op, delegate*<CpuState*, Op*, Op*> handler, int size)
    {
        Cold(in i, op, handler, size);
        _ends = false;
        return true;
    }

    private bool End(in Instruction i, Op* op, delegate*<CpuState*, Op*, Op*> handler, int size)
    {
        Cold(in i, op, handler, size);
        _ends = true;
        return true;
    }

    /// <summary>x87, MMX, SSE, AVX, BMI; what is none of those is undefined.</summary>
    private bool Units(in Instruction i, Op* op, int a)
    {
        _ends = false;
        switch (i.Mnemonic)
        {
            case Mnemonic.Wait or Mnemonic.Fninit or Mnemonic.Fnclex or Mnemonic.Fnstcw or Mnemonic.Fnstsw or Mnemonic.Fldcw or Mnemonic.Fneni or Mnemonic.Fndisi or Mnemonic.Fnsetpm:
                return Known(in i, op, &X87.ControlOp, 0);
            case Mnemonic.Fnstenv or Mnemonic.Fldenv or Mnemonic.Fnsave or Mnemonic.Frstor:
                return Known(in i, op, &X87.ControlOp, i.Code is Code.Fnstenv_m28byte or Code.Fldenv_m28byte or Code.Fnsave_m108byte or Code.Frstor_m108byte ? 4 : 2);
            case Mnemonic.Fxsave or Mnemonic.Fxsave64 or Mnemonic.Fxrstor or Mnemonic.Fxrstor64:
                return Known(in i, op, &X87.Fxsave, 0);
            case Mnemonic.Xsave or Mnemonic.Xsave64 or Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64:
                return Known(in i, op, &X87.Xsave, 0);
            case Mnemonic.Xrstor or Mnemonic.Xrstor64:
                return Known(in i, op, &X87.Xrstor, 0);
            case Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr or Mnemonic.Vldmxcsr or Mnemonic.Vstmxcsr:
                return Known(in i, op, &X87.MxcsrOp, 0);
            case Mnemonic.Vzeroupper or Mnemonic.Vzeroall:
                return Known(in i, op, &X87.ZeroVectors, 0);
            case Mnemonic.Maskmovdqu or Mnemonic.Maskmovq or Mnemonic.Vmaskmovdqu:
                MaskAddress(in i, op);
                return Known(in i, op, &X87.Masked, 0);
            case Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq:
                return Known(in i, op, &X87.Masked, 0);
            case Mnemonic.Vpgatherdd or Mnemonic.Vpgatherdq or Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq or Mnemonic.Vgatherdps or Mnemonic.Vgatherdpd or Mnemonic.Vgatherqps or Mnemonic.Vgatherqpd:
                op->Index = CpuState.ZeroRegister * 8;
                return Known(in i, op, &X87.Masked, 0);
            case Mnemonic.Movups or Mnemonic.Movaps or Mnemonic.Movupd or Mnemonic.Movapd or Mnemonic.Movdqu or Mnemonic.Movdqa:
                {
                    op->Imm = i.Mnemonic is Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa ? 15u : 0u;
                    if (i.Op0Kind == OpKind.Register) op->Dst = (byte)i.Op0Register.GetNumber();
                    if (i.Op1Kind == OpKind.Register) op->Src = (byte)i.Op1Register.GetNumber();
                    Set(op, i.Op0Kind == OpKind.Memory ? (Handler)(&HostUnit.MoveStore) : i.Op1Kind == OpKind.Memory ? (Handler)(&HostUnit.MoveLoad) : (Handler)(&HostUnit.MoveRegister));
                    return true;
                }

            default:
                break;
        }

        if (UnitOf(in i) is { } unit)
        {
            if (_host.TryMake(in i, unit, out var made))
            {
                var host = _arena.Allocate<HostOp>(1);
                if (host != null)
                {
                    *host = made;
                    op->Imm = (ulong)host;
                    op->Aux = (byte)a;
                    return Set(op, (Handler)(&HostUnit.Run));
                }
            }
        }

        return End(in i, op, &SystemInstructions.Undefined, 0);
    }

    /// <summary>An instruction that the CPU does not have.</summary>
    public bool Undefined(in Instruction i, Op* op)
    {
        op->Base = op->Index = CpuState.ZeroRegister * 8;
        op->Seg = Segment.None;
        return End(in i, op, &SystemInstructions.Undefined, 0);
    }

    /// <summary>See <see cref="SystemInstructions.ForceEmulation"/>.</summary>
    public bool ForcedEmulation(in Instruction i, Op* op) => End(in i, op, &SystemInstructions.ForceEmulation, 0);

    private static HostUnitKind? UnitOf(in Instruction i)
    {
        foreach (var feature in i.CpuidFeatures)
        {
            switch (feature)
            {
                case CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387:
                    return HostUnitKind.X87;
                case CpuidFeature.CMOV when i.Mnemonic.ToString().StartsWith("Fc", StringComparison.Ordinal):
                    return HostUnitKind.X87;
                case CpuidFeature.MMX:
                    return HostUnitKind.Mmx;
                case CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3 or CpuidFeature.SSSE3 or CpuidFeature.SSE4_1 or CpuidFeature.AES or CpuidFeature.PCLMULQDQ:
                    if (i.Mnemonic == Mnemonic.Fisttp) return HostUnitKind.X87;
                    if (i.Mnemonic is Mnemonic.Movnti) return HostUnitKind.Integer;
                    if (i.Encoding == EncodingKind.VEX) return HostUnitKind.Avx;
                    return UsesMmx(in i) ? HostUnitKind.Mmx : HostUnitKind.Sse;
                case CpuidFeature.SSE4_2:
                    return i.Mnemonic == Mnemonic.Crc32 ? HostUnitKind.Integer : HostUnitKind.Sse;
                case CpuidFeature.AVX or CpuidFeature.AVX2 or CpuidFeature.FMA or CpuidFeature.F16C:
                    return HostUnitKind.Avx;
                case CpuidFeature.BMI1 or CpuidFeature.BMI2:
                    return HostUnitKind.Integer;
                default:
                    break;
            }
        }

        return null;
    }

    private static bool UsesMmx(in Instruction i)
    {
        for (var n = 0; n < i.OpCount; n++)
            if (i.GetOpKind(n) == OpKind.Register && i.GetOpRegister(n).IsMM()) return true;
        return false;
    }

    private static void MaskAddress(in Instruction i, Op* op)
    {
        op->Base = 7 * 8;
        var kind = i.Op0Kind;
        var long64 = kind == OpKind.MemorySegRDI || i.CodeSize == CodeSize.Code64;
        op->Aux = (byte)(kind == OpKind.MemorySegDI ? Operands.Seg16 : kind == OpKind.MemorySegEDI ? long64 ? Operands.Long32 : Operands.Seg32 : Operands.Long);
        op->Seg = (byte)(long64 && i.MemorySegment is not (Register.FS or Register.GS) ? Segment.None : Registers.Segment(i.MemorySegment));
    }

    private static bool Set(Op* op, Handler handler)
    {
        op->Handler = handler.Address;
        return false;
    }

    private bool Cold(in Instruction i, Op* op, delegate*<CpuState*, Op*, Op*> handler, int size)
    {
        var copy = _arena.Allocate<Instruction>(1);
        *copy = i;
        op->Imm = (ulong)copy;
        op->Dst = (byte)size;
        op->Handler = handler;
        return false;
    }

    private bool Move(in Instruction i, Op* op, int a)
    {
        if (i.Op0Register.IsSegmentRegister() && i.Op0Kind == OpKind.Register)
        {
            Cold(in i, op, &SystemInstructions.MoveToSegment, 2);
            return i.Op0Register == Register.SS;
        }

        if (i.Op1Kind == OpKind.Register && i.Op1Register.IsSegmentRegister()) return Cold(in i, op, &SystemInstructions.MoveFromSegment, Size(in i, 0));
        if (i.Op0Kind == OpKind.Register && (i.Op0Register.IsCR() || i.Op0Register.IsDR() || i.Op0Register.IsTR()))
        {
            Cold(in i, op, i.Op0Register.IsCR() ? &SystemInstructions.MoveToControl : i.Op0Register.IsDR() ? &SystemInstructions.MoveToDebug : &SystemInstructions.Undefined, 0);
            return true;
        }

        if (i.Op1Kind == OpKind.Register && (i.Op1Register.IsCR() || i.Op1Register.IsDR() || i.Op1Register.IsTR()))
            return Cold(in i, op, i.Op1Register.IsCR() ? &SystemInstructions.MoveFromControl : i.Op1Register.IsDR() ? &SystemInstructions.MoveFromDebug : &SystemInstructions.Undefined, 0);

        var size = Size(in i, 0);
        if (i.Op0Kind == OpKind.Memory)
        {
            if (i.Op1Kind == OpKind.Register)
            {
                op->Src = Registers.Offset(i.Op1Register);
                return IsFarAbsolute(in i, op, a) ? Cold(in i, op, &Absolute.Store, size) : Set(op, Handlers.MoveMemReg(size, a));
            }

            op->Imm = i.GetImmediate(1) & Operands.Mask(size);
            return Set(op, Handlers.MoveMemImm(size, a));
        }

        op->Dst = Registers.Offset(i.Op0Register);
        if (i.Op1Kind == OpKind.Memory) return IsFarAbsolute(in i, op, a) ? Cold(in i, op, &Absolute.Load, size) : Set(op, Handlers.MoveRegMem(size, a));
        if (i.Op1Kind == OpKind.Register)
        {
            op->Src = Registers.Offset(i.Op1Register);
            return Set(op, Handlers.MoveRegReg(size));
        }

        op->Imm = i.GetImmediate(1) & Operands.Mask(size);
        return Set(op, Handlers.MoveRegImm(size));
    }

    /// <summary>MOV with a 64-bit address that a displacement cannot hold.</summary>
    private static bool IsFarAbsolute(in Instruction i, Op* op, int a) =>
        a == Operands.Long && i.MemoryBase == Register.None && i.MemoryIndex == Register.None && (ulong)op->Disp != i.MemoryDisplacement64;

    private bool Binary<TOp>(in Instruction i, Op* op, int a) where TOp : struct, IBinary
    {
        var size = Size(in i, 0);
        if (i.Op0Kind == OpKind.Memory)
        {
            if (i.Op1Kind == OpKind.Register)
            {
                op->Src = Registers.Offset(i.Op1Register);
                return Set(op, Handlers.MemReg<TOp>(size, a));
            }

            op->Imm = i.GetImmediate(1) & Operands.Mask(size);
            return Set(op, Handlers.MemImm<TOp>(size, a));
        }

        op->Dst = Registers.Offset(i.Op0Register);
        if (i.Op1Kind == OpKind.Memory) return Set(op, Handlers.RegMem<TOp>(size, a));
        if (i.Op1Kind == OpKind.Register)
        {
            op->Src = Registers.Offset(i.Op1Register);
            return Set(op, Handlers.RegReg<TOp>(size));
        }

        op->Imm = i.GetImmediate(1) & Operands.Mask(size);
        return Set(op, Handlers.RegImm<TOp>(size));
    }

    private static bool Unary<TOp>(in Instruction i, Op* op, int a) where TOp : struct, IUnary
    {
        var memory = i.Op0Kind == OpKind.Memory;
        if (!memory) op->Dst = Registers.Offset(i.Op0Register);
        return Set(op, Handlers.Unary<TOp>(Size(in i, 0), memory, a));
    }

    private static bool Shift<TOp>(in Instruction i, Op* op, int a) where TOp : struct, IShift
    {
        var size = Size(in i, 0);
        var byCl = i.Op1Kind == OpKind.Register;
        var count = byCl ? 0 : (int)i.GetImmediate(1) & (size == 8 ? 63 : 31);
        op->Imm = (ulong)count;
        if (i.Op0Kind == OpKind.Memory)
        {
            op->Src = byCl ? (byte)1 : (byte)0;
            return Set(op, Handlers.ShiftMem<TOp>(size, a));
        }

        op->Dst = Registers.Offset(i.Op0Register);
        if (byCl || count != 0) return Set(op, Handlers.ShiftReg<TOp>(size, byCl));
        // A count of zero changes nothing, but a 32-bit register loses its upper half.
        op->Src = op->Dst;
        return Set(op, Handlers.MoveRegReg(size));
    }

    private bool Push(in Instruction i, Op* op, int stack, int memory)
    {
        var size = i.Op0Kind == OpKind.Register && i.Op0Register.IsSegmentRegister() ? SegmentPushSize(i.Code) : PushSize(in i);
        if (memory >= 0) return Cold(in i, op, &Integer.PushMemory, size);
        op->Base = 4 * 8;
        if (i.Op0Kind == OpKind.Register)
        {
            if (i.Op0Register.IsSegmentRegister()) return Cold(in i, op, &SystemInstructions.PushSegment, size);
            op->Dst = Registers.Offset(i.Op0Register);
            return Set(op, Handlers.PushReg(size, stack));
        }

        op->Imm = i.GetImmediate(0) & Operands.Mask(size);
        return Set(op, Handlers.PushImm(size, stack));
    }

    private bool Pop(in Instruction i, Op* op, int stack, int memory)
    {
        if (memory >= 0) return Cold(in i, op, &Integer.PopMemory, Size(in i, 0));
        if (i.Op0Register.IsSegmentRegister())
        {
            op->Base = 4 * 8;
            Cold(in i, op, &SystemInstructions.PopSegment, SegmentPushSize(i.Code));
            return i.Op0Register == Register.SS;
        }

        op->Base = 4 * 8;
        op->Dst = Registers.Offset(i.Op0Register);
        return Set(op, Handlers.PopReg(Size(in i, 0), stack));
    }

    private static int SegmentPushSize(Code code)
    {
        var name = code.ToString();
        return name.StartsWith("Pushw", StringComparison.Ordinal) || name.StartsWith("Popw", StringComparison.Ordinal) ? 2
            : name.StartsWith("Pushd", StringComparison.Ordinal) || name.StartsWith("Popd", StringComparison.Ordinal) ? 4 : 8;
    }

    private static int PushSize(in Instruction i) => i.Op0Kind switch
    {
        OpKind.Register => i.Op0Register.GetSize(),
        OpKind.Memory => i.MemorySize.GetSize(),
        _ => Math.Abs(i.StackPointerIncrement),
    };

    private bool String(in Instruction i, Op* op, delegate*<CpuState*, Op*, Op*> handler)
    {
        var long64 = i.CodeSize == CodeSize.Code64;
        op->Aux = Operands.Long;
        for (var n = 0; n < i.OpCount; n++)
        {
            switch (i.GetOpKind(n))
            {
                case OpKind.MemorySegSI or OpKind.MemoryESDI or OpKind.MemorySegDI: op->Aux = Operands.Seg16; break;
                case OpKind.MemorySegESI or OpKind.MemoryESEDI or OpKind.MemorySegEDI: op->Aux = long64 ? Operands.Long32 : Operands.Seg32; break;
                default: break;
            }

            if (i.GetOpKind(n) is OpKind.MemorySegSI or OpKind.MemorySegESI or OpKind.MemorySegRSI)
                op->Seg = (byte)Registers.Segment(i.MemorySegment);
        }

        op->Dst = (byte)i.MemorySize.GetSize();
        op->Src = i.HasRepePrefix || i.HasRepPrefix ? (byte)1 : i.HasRepnePrefix ? (byte)2 : (byte)0;
        op->Handler = handler;
        return false;
    }

    private static bool IsString(in Instruction i) => i.OpCount == 2 && i.Op0Kind is not OpKind.Register && i.Op1Kind is not OpKind.Register && i.IsStringInstruction;

    private static int FarSize(in Instruction i) => i.Op0Kind switch
    {
        OpKind.FarBranch16 => 2,
        OpKind.FarBranch32 => 4,
        _ => i.MemorySize switch { MemorySize.SegPtr16 => 2, MemorySize.SegPtr32 => 4, _ => 8 },
    };

    private static int CountSize(Code code)
    {
        var name = code.ToString();
        return name.EndsWith("_CX", StringComparison.Ordinal) || name.StartsWith("Jcxz", StringComparison.Ordinal) ? 2
            : name.EndsWith("_ECX", StringComparison.Ordinal) || name.StartsWith("Jecxz", StringComparison.Ordinal) ? 4 : 8;
    }

    private static bool SamePage(in Instruction i, ulong blockIp) => (i.NearBranchTarget ^ blockIp) >> 12 == 0;

    private static void Target(in Instruction i, Op* op, ulong blockIp)
    {
        op->Disp = (int)(i.NearBranchTarget - blockIp);
        op->Scale = i.Op0Kind switch { OpKind.NearBranch16 => 2, OpKind.NearBranch32 => 4, _ => 8 };
        op->Imm = 0;
    }

    /// <summary>Bytes of an operand.</summary>
    private static int Size(in Instruction i, int operand) => i.GetOpKind(operand) switch
    {
        OpKind.Register => i.GetOpRegister(operand).GetSize(),
        OpKind.Memory => i.MemorySize.GetSize(),
        OpKind.Immediate8 => 1,
        OpKind.Immediate16 or OpKind.Immediate8to16 => 2,
        OpKind.Immediate32 or OpKind.Immediate8to32 => 4,
        _ => 8,
    };

    private static int MemoryOperand(in Instruction i)
    {
        for (var n = 0; n < i.OpCount; n++)
            if (i.GetOpKind(n) == OpKind.Memory) return n;
        return -1;
    }

    /// <summary>Lays out the memory operand; gives its addressing.</summary>
    private static int Address(in Instruction i, Op* op, ulong blockIp, bool long64)
    {
        if (MemoryOperand(in i) < 0) return long64 ? Operands.Long : Operands.Seg32;
        Register b = i.MemoryBase, x = i.MemoryIndex;
        int width;
        if (b == Register.RIP || b == Register.EIP)
        {
            op->Base = CpuState.BlockIpRegister * 8;
            op->Disp = (int)(i.MemoryDisplacement64 - blockIp);
            width = b == Register.RIP ? 8 : 4;
        }
        else
        {
            if (b != Register.None) op->Base = Registers.Offset(b.GetFullRegister());
            if (x != Register.None && !x.IsVectorRegister()) op->Index = Registers.Offset(x.GetFullRegister());
            op->Scale = i.MemoryIndexScale switch { 1 => 0, 2 => 1, 4 => 2, _ => 3 };
            op->Disp = (int)i.MemoryDisplacement64;
            width = b != Register.None ? b.GetSize() : x != Register.None && !x.IsVectorRegister() ? x.GetSize() : i.MemoryDisplSize == 0 ? (long64 ? 8 : 4) : i.MemoryDisplSize;
            if (long64 && width == 1) width = 8;
        }

        var segment = i.MemorySegment;
        op->Seg = (byte)(long64 && segment is not (Register.FS or Register.GS) ? Segment.None : Registers.Segment(segment));
        return width == 8 ? Operands.Long : width == 4 ? long64 ? Operands.Long32 : Operands.Seg32 : Operands.Seg16;
    }

    private static bool IsCmov(Mnemonic m) => m is >= Mnemonic.Cmova and <= Mnemonic.Cmovs;

    private static int ConditionOf(ConditionCode code) => code switch
    {
        ConditionCode.o => 0,
        ConditionCode.no => 1,
        ConditionCode.b => 2,
        ConditionCode.ae => 3,
        ConditionCode.e => 4,
        ConditionCode.ne => 5,
        ConditionCode.be => 6,
        ConditionCode.a => 7,
        ConditionCode.s => 8,
        ConditionCode.ns => 9,
        ConditionCode.p => 10,
        ConditionCode.np => 11,
        ConditionCode.l => 12,
        ConditionCode.ge => 13,
        ConditionCode.le => 14,
        _ => 15,
    };
}

/// <summary>MOV between the accumulator and a 64-bit absolute address.</summary>
internal static unsafe class Absolute
{
    private static ulong Linear(CpuState* c, Op* op) => Operands.Of(op)->MemoryDisplacement64 + c->Seg[op->Seg].Base;

    public static Op* Load(CpuState* c, Op* op)
    {
        if (!Operands.Load(c, op, Linear(c, op), op->Dst, out var value)) return null;
        Operands.Set(c, 0, op->Dst, value);
        return op + 1;
    }

    public static Op* Store(CpuState* c, Op* op) => Operands.Store(c, op, Linear(c, op), op->Dst, Operands.Get(c, 0, op->Dst)) ? op + 1 : null;
}
