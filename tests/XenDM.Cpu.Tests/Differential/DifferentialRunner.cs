using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using Iced.Intel;
using XenDM.Cpu.State;
using Decoder = Iced.Intel.Decoder;

namespace XenDM.Cpu.Tests.Differential;

/// <summary>
/// Executes random instructions that user mode allows in the engine and on the host's CPU, from the same random state, and compares registers,
/// memory and defined flags bit for bit.
/// </summary>
internal sealed unsafe class DifferentialRunner : IDisposable
{
    private const ulong CodeAt = 0x10000, Buffer = 0x20000;
    private const int BufferBytes = 4096;
    private readonly TestMachine _machine = new();
    private readonly HostRunner _host = new();
    private readonly Random _random;
    private readonly byte[] _bytes = new byte[15];
    private readonly byte* _native = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);

    public DifferentialRunner(int seed)
    {
        _random = new Random(seed);
        _machine.EnterLongMode(CodeAt);
    }

    /// <summary>Names each instruction before the host runs it: one that the engine lets pass and the host does not would end the process.</summary>
    private static readonly Action<string>? s_trace = Environment.GetEnvironmentVariable("XENDM_CPU_TRACE") is { } file ? line => System.IO.File.WriteAllText(file, line) : null;

    private Span<byte> Bytes => new(_native, BufferBytes);

    public long Cases { get; private set; }

    /// <summary>Instructions by code that were compared.</summary>
    public Dictionary<Iced.Intel.Code, int> Covered { get; } = [];

    /// <summary>Valid instructions that the engine refused.</summary>
    public SortedDictionary<string, int> Refused { get; } = [];

    public List<string> Failures { get; } = [];

    public void Run(int attempts, int maxFailures = 20)
    {
        for (var n = 0; n < attempts && Failures.Count < maxFailures; n++) One();
    }

    private void One()
    {
        Generate();
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(_bytes));
        decoder.IP = CodeAt;
        decoder.Decode(out var i);
        if (i.IsInvalid || !IsComparable(in i)) return;
        Compare(in i);
    }

    private void Generate()
    {
        _random.NextBytes(_bytes);
        var at = 0;
        switch (_random.Next(8))
        {
            case 0: _bytes[at++] = 0x66; break;
            case 1: _bytes[at++] = 0xf3; break;
            case 2: _bytes[at++] = 0xf2; break;
            default: break;
        }

        var form = _random.Next(10);
        if (form < 4)
        {
            if (_random.Next(2) == 0) _bytes[at++] = (byte)(0x40 | _random.Next(16));
            switch (_random.Next(6))
            {
                case 0 or 1:
                    _bytes[at++] = 0x0f;
                    break;
                case 2:
                    _bytes[at++] = 0x0f;
                    _bytes[at++] = 0x38;
                    break;
                case 3:
                    _bytes[at++] = 0x0f;
                    _bytes[at++] = 0x3a;
                    break;
                default:
                    break;
            }
        }
        else if (form < 6)
        {
            _bytes[0] = 0xc4;
            _bytes[1] = (byte)((_bytes[1] & 0xe0) | (1 + _random.Next(3)));
            at = 3;
        }
        else if (form < 7)
        {
            _bytes[0] = 0xc5;
            at = 2;
        }
        else if (form < 8)
        {
            _bytes[at++] = (byte)(0xd8 + _random.Next(8));
            at--;
        }
        else if (_random.Next(2) == 0)
        {
            _bytes[at++] = (byte)(0x40 | _random.Next(16));
        }

        // Opcode, then half of the time a memory operand [rdi + disp8].
        if (at + 2 < _bytes.Length && _random.Next(2) == 0) _bytes[at + 1] = (byte)(0x47 | (_random.Next(8) << 3));
    }

    private static bool IsComparable(in Instruction i)
    {
        if (i.FlowControl != FlowControl.Next || i.IsPrivileged || i.IsStackInstruction || i.IsVsib) return false;
        if (i.HasLockPrefix || i.Length > 15) return false;
        switch (i.Mnemonic)
        {
            case Mnemonic.Lss or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Rdpid or Mnemonic.Rdrand or Mnemonic.Rdseed or Mnemonic.Cpuid or Mnemonic.Xgetbv or Mnemonic.Rdpmc or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase
                or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase or Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw or Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Smsw or Mnemonic.Sgdt or Mnemonic.Sidt:
                return false;
            case Mnemonic.Fldenv or Mnemonic.Frstor or Mnemonic.Fnstenv or Mnemonic.Fnsave or Mnemonic.Fldcw or Mnemonic.Fxrstor or Mnemonic.Fxsave or Mnemonic.Fxsave64 or Mnemonic.Fxrstor64 or Mnemonic.Ldmxcsr or Mnemonic.Vldmxcsr:
                return false;
            case Mnemonic.Popf or Mnemonic.Popfq or Mnemonic.Sti or Mnemonic.Cli or Mnemonic.Std or Mnemonic.In or Mnemonic.Out or Mnemonic.Hlt or Mnemonic.Insb or Mnemonic.Insd or Mnemonic.Insw or Mnemonic.Outsb or Mnemonic.Outsd or Mnemonic.Outsw:
                return false;
            case Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss or Mnemonic.Wait or Mnemonic.Tpause or Mnemonic.Umonitor or Mnemonic.Umwait or Mnemonic.Clui or Mnemonic.Stui:
                return false;
            case Mnemonic.Maskmovdqu or Mnemonic.Maskmovq or Mnemonic.Vmaskmovdqu or Mnemonic.Xlatb:
                return false;
            default:
                break;
        }

        // Undefined whole results.
        if (i.Mnemonic == Mnemonic.Lea) return false; // its result is the address of the buffer
        if (i.Mnemonic is Mnemonic.Bswap && i.Op0Register.GetSize() == 2) return false;
        var memory = false;
        for (var n = 0; n < i.OpCount; n++)
        {
            var kind = i.GetOpKind(n);
            if (kind == OpKind.Register)
            {
                var register = i.GetOpRegister(n);
                if (register.GetFullRegister() is Register.RSP or Register.RDI || register.IsSegmentRegister() || register.IsCR() || register.IsDR()) return false;
                if (register.IsZMM() || register.IsK() || register.IsTMM() || register.IsBND()) return false;
                if (register.IsVectorRegister() && register.GetNumber() > 15) return false;
            }
            else if (kind == OpKind.Memory)
            {
                memory = true;
            }
            else if (kind is >= OpKind.MemorySegSI and <= OpKind.MemoryESRDI)
            {
                if (i.SegmentPrefix is Register.FS or Register.GS) return false;
                if (kind is not (OpKind.MemorySegRSI or OpKind.MemoryESRDI)) return false;
            }
        }

        if (memory && (i.MemoryBase != Register.RDI || i.MemoryIndex != Register.None || i.SegmentPrefix is Register.FS or Register.GS || (long)i.MemoryDisplacement64 is > 127 or < -128)) return false;
        foreach (var feature in i.CpuidFeatures)
        {
            if (feature is CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.X64 or CpuidFeature.CMOV or CpuidFeature.FPU or CpuidFeature.FPU287
                or CpuidFeature.FPU387 or CpuidFeature.MMX or CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3 or CpuidFeature.SSSE3 or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 or CpuidFeature.AVX or CpuidFeature.AVX2
                or CpuidFeature.FMA or CpuidFeature.F16C or CpuidFeature.BMI1 or CpuidFeature.BMI2 or CpuidFeature.LZCNT or CpuidFeature.POPCNT or CpuidFeature.ADX or CpuidFeature.MOVBE or CpuidFeature.AES or CpuidFeature.PCLMULQDQ
                or CpuidFeature.CX8 or CpuidFeature.CMPXCHG16B or CpuidFeature.MULTIBYTENOP or CpuidFeature.CPUID or CpuidFeature.PAUSE) continue;
            return false;
        }

        return true;
    }

    private static readonly ulong[] s_corners = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue, ulong.MaxValue - 1,
        0x3ff0_0000_0000_0000, 0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 0x3f80_0000_7f80_0000, 0x7fc0_0000_ff80_0001, 0x0000_0001_8000_0001, 31, 32, 33, 63, 64];

    private ulong Value() => _random.Next(3) == 0 ? s_corners[_random.Next(s_corners.Length)] : (ulong)_random.NextInt64() ^ ((ulong)_random.NextInt64() << 1);

    private void Fill(Span<byte> bytes)
    {
        for (var n = 0; n + 8 <= bytes.Length; n += 8) BitConverter.TryWriteBytes(bytes[n..], Value());
    }

    private void Compare(in Instruction i)
    {
        MachineState state = default;
        for (var r = 0; r < 16; r++) state.R[r] = Value();
        state.R[7] = 0;
        if (i.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && i.Op0Kind == OpKind.Memory && i.Op1Kind == OpKind.Register)
            state.R[Interpreter.Registers.Offset(i.Op1Register) / 8] = (ulong)(long)_random.Next(-6000, 6000);
        state.Flags = 0x202 | ((ulong)_random.Next(0x1000) & 0x8d5);
        if (i.HasRepPrefix || i.HasRepnePrefix || i.IsStringInstruction)
        {
            state.R[1] = (ulong)_random.Next(20);
            state.R[6] = 0;
        }

        state.Mxcsr = 0x1f80 | ((uint)_random.Next(4) << 13) | (_random.Next(4) == 0 ? 0x8000u : 0) | (_random.Next(4) == 0 ? 0x40u : 0);
        Fill(new Span<byte>(state.Ymm, 512));
        // An x87 state with some registers in use.
        *(ushort*)state.Fx = (ushort)(0x37f & ~0xf00 | (_random.Next(4) << 10) | (_random.Next(3) == 0 ? 0x300 : _random.Next(2) == 0 ? 0x200 : 0x300));
        *(ushort*)(state.Fx + 2) = (ushort)(_random.Next(8) << 11);
        state.Fx[4] = (byte)(_random.Next(3) == 0 ? _random.Next(256) : 255);
        for (var r = 0; r < 8; r++)
        {
            *(ulong*)(state.Fx + 32 + (r * 16)) = Value() | (_random.Next(8) == 0 ? 0 : 1ul << 63);
            *(ushort*)(state.Fx + 32 + (r * 16) + 8) = (ushort)(_random.Next(4) switch { 0 => 0x3fff + _random.Next(-70, 70), 1 => 0xbfff + _random.Next(-5, 5), 2 => _random.Next(65536), _ => _random.Next(2) * 0x7fff });
        }

        *(uint*)(state.Fx + 24) = 0x1f80;
        Fill(Bytes);
        if (_random.Next(2) == 0) Bytes[..256].CopyTo(Bytes[2048..]);

        // The engine.
        var c = _machine.C;
        var engineMemory = _machine.At(Buffer, BufferBytes);
        Bytes.CopyTo(engineMemory);
        _bytes.AsSpan(0, i.Length).CopyTo(_machine.At(CodeAt, 16));
        _machine.At(CodeAt + (ulong)i.Length, 1)[0] = 0xf4;
        _machine.Cpu.CodeWritten(CodeAt, 16);
        const ulong Middle = Buffer + 1024;
        for (var r = 0; r < 16; r++) c->R[r] = state.R[r];
        c->R[7] = Middle;
        var usesSource = i.IsStringInstruction;
        if (usesSource) c->R[6] = Middle + 2048 - 1024;
        Flags.SetArithmetic(c, (uint)state.Flags & Flags.Arithmetic);
        c->Eflags = ((uint)state.Flags & ~Flags.Arithmetic) | 2;
        c->Mxcsr = state.Mxcsr;
        System.Buffer.MemoryCopy(state.Fx, CpuState.Fx(c), 512, 512);
        System.Buffer.MemoryCopy(state.Ymm, CpuState.Ymm(c, 0), 512, 512);
        _machine.Cpu.Wake();
        c->Rip = CodeAt;
        // Interrupt table empty: an exception ends in shutdown, with the vector in the state.
        c->IdtLimit = 0;
        var result = _machine.Cpu.Run(1000);
        if (result == RunResult.Shutdown || c->Rip != CodeAt + (ulong)i.Length + 1)
        {
            _machine.Cpu.Wake();
            _machine.EnterLongMode(CodeAt);
            var refused = _machine.Cpu.FirstException;
            if (refused == 6)
            {
                Refused.TryGetValue(i.Code.ToString(), out var count);
                Refused[i.Code.ToString()] = count + 1;
            }
            else if (refused is not (0 or 13 or 16 or 19))
            {
                Failures.Add($"{i} [{Convert.ToHexString(_bytes, 0, i.Length)}]: exception {refused}");
            }

            return;
        }

        // The host.
        s_trace?.Invoke($"{i} [{Convert.ToHexString(_bytes, 0, i.Length)}]");
        var before = state;
        state.R[7] = (ulong)_native + 1024;
        if (usesSource) state.R[6] = (ulong)_native + 2048;
        _host.Run(ref state, _bytes.AsSpan(0, i.Length), true, true);
        state.R[7] = state.R[7] - ((ulong)_native + 1024) + Middle;
        if (usesSource) state.R[6] = state.R[6] - ((ulong)_native + 2048) + (Middle + 1024);

        Cases++;
        Covered[i.Code] = Covered.GetValueOrDefault(i.Code) + 1;
        var differences = new StringBuilder();
        var isUndefined = UndefinedResult(in i, before.R[1]);
        for (var r = 0; r < 16; r++)
            if (r != 4 && state.R[r] != c->R[r] && !isUndefined) differences.Append($" r{r} {c->R[r]:x} host {state.R[r]:x};");
        var undefined = UndefinedFlags(in i, before.R[1]);
        var mask = Flags.Arithmetic & ~undefined;
        if (((Flags.Get(c) ^ state.Flags) & mask) != 0) differences.Append($" flags {Flags.Get(c) & mask:x} host {state.Flags & mask:x};");
        if (c->Mxcsr != state.Mxcsr) differences.Append($" mxcsr {c->Mxcsr:x} host {state.Mxcsr:x};");
        for (var n = 0; n < 512; n += 16)
            if (!new ReadOnlySpan<byte>(state.Ymm + n, 16).SequenceEqual(new ReadOnlySpan<byte>(CpuState.Ymm(c, 0) + n, 16)))
                differences.Append($" ymm{n / 32}.{(n & 16) / 16} {Convert.ToHexString(new ReadOnlySpan<byte>(CpuState.Ymm(c, 0) + n, 16))} host {Convert.ToHexString(new ReadOnlySpan<byte>(state.Ymm + n, 16))};");
        if (!new ReadOnlySpan<byte>(state.Fx, 6).SequenceEqual(new ReadOnlySpan<byte>(CpuState.Fx(c), 6)))
            differences.Append($" fpu {Convert.ToHexString(new ReadOnlySpan<byte>(CpuState.Fx(c), 6))} host {Convert.ToHexString(new ReadOnlySpan<byte>(state.Fx, 6))};");
        for (var r = 0; r < 8; r++)
            if (!new ReadOnlySpan<byte>(state.Fx + 32 + (r * 16), 10).SequenceEqual(new ReadOnlySpan<byte>(CpuState.Fx(c) + 32 + (r * 16), 10)))
                differences.Append($" st{r} {Convert.ToHexString(new ReadOnlySpan<byte>(CpuState.Fx(c) + 32 + (r * 16), 10))} host {Convert.ToHexString(new ReadOnlySpan<byte>(state.Fx + 32 + (r * 16), 10))};");
        if (!isUndefined && !Bytes.SequenceEqual(engineMemory))
        {
            var at = Bytes.CommonPrefixLength(engineMemory);
            differences.Append($" memory at {at - 1024}: {Convert.ToHexString(engineMemory.Slice(at, Math.Min(8, BufferBytes - at)))} host {Convert.ToHexString(Bytes.Slice(at, Math.Min(8, BufferBytes - at)))};");
        }

        if (differences.Length > 0) Failures.Add($"{i} [{Convert.ToHexString(_bytes, 0, i.Length)}] rcx {before.R[1]:x} rax {before.R[0]:x} rdx {before.R[2]:x} flags {before.Flags:x}:{differences}");
    }

    private static int Count(in Instruction i, ulong rcx)
    {
        var wide = i.GetOpKind(0) == OpKind.Register ? i.GetOpRegister(0).GetSize() == 8 : i.MemorySize.GetSize() == 8;
        var last = i.OpCount - 1;
        var count = i.GetOpKind(last) == OpKind.Register ? (int)rcx : i.OpCount > 1 ? (int)i.GetImmediate(last) : 1;
        return count & (wide ? 63 : 31);
    }

    /// <summary>Flags without a defined value, by the instruction and its count (SDM 2).</summary>
    private static uint UndefinedFlags(in Instruction i, ulong rcx)
    {
        uint undefined = 0;
        var bits = i.RflagsUndefined;
        if ((bits & RflagsBits.CF) != 0) undefined |= Flags.Cf;
        if ((bits & RflagsBits.PF) != 0) undefined |= Flags.Pf;
        if ((bits & RflagsBits.AF) != 0) undefined |= Flags.Af;
        if ((bits & RflagsBits.ZF) != 0) undefined |= Flags.Zf;
        if ((bits & RflagsBits.SF) != 0) undefined |= Flags.Sf;
        if ((bits & RflagsBits.OF) != 0) undefined |= Flags.Of;
        switch (i.Mnemonic)
        {
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld or Mnemonic.Shrd:
                {
                    var count = Count(in i, rcx);
                    var size = i.GetOpKind(0) == OpKind.Register ? i.GetOpRegister(0).GetSize() : i.MemorySize.GetSize();
                    if (count != 1) undefined |= Flags.Of;
                    if (count >= size * 8) undefined |= Flags.Cf;
                    if (count > size * 8 && i.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd) undefined |= Flags.Arithmetic;
                    return undefined | Flags.Af;
                }

            case Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr:
                return Count(in i, rcx) != 1 ? undefined | Flags.Of : undefined;
            default:
                return undefined;
        }
    }

    private static bool UndefinedResult(in Instruction i, ulong rcx)
    {
        if (i.Mnemonic is not (Mnemonic.Shld or Mnemonic.Shrd)) return false;
        var size = i.GetOpKind(0) == OpKind.Register ? i.GetOpRegister(0).GetSize() : i.MemorySize.GetSize();
        return Count(in i, rcx) > size * 8;
    }

    public void Dispose()
    {
        _machine.Dispose();
        _host.Dispose();
        NativeMemory.AlignedFree(_native);
    }
}
