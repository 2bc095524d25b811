using System.Numerics;
using System.Runtime.CompilerServices;

namespace XenDM.Cpu.State;

/// <summary>
/// The arithmetic flags are not computed when an instruction sets them but when one reads them: kept are the sign-extended result and the
/// carries out of the top bits and out of bit 3. SDM 1, 3.4.3.1.
/// </summary>
public static unsafe class Flags
{
    public const uint Cf = 1, Pf = 4, Af = 0x10, Zf = 0x40, Sf = 0x80, Tf = 0x100, If = 0x200, Df = 0x400, Of = 0x800, Iopl = 0x3000, Nt = 0x4000, Rf = 0x10000, Vm = 0x20000,
        Ac = 0x40000, Vif = 0x80000, Vip = 0x100000, Id = 0x200000;

    public const uint Arithmetic = Cf | Pf | Af | Zf | Sf | Of;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetCf(CpuState* c) => (long)c->FlagAux < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetZf(CpuState* c) => c->FlagResult == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetSf(CpuState* c) => (c->FlagResult ^ (long)(c->FlagAux << 47)) < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetOf(CpuState* c) => (long)(c->FlagAux ^ (c->FlagAux << 1)) < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetPf(CpuState* c) => (BitOperations.PopCount((byte)((ulong)c->FlagResult ^ (c->FlagAux >> 8))) & 1) == 0;

    public static bool GetAf(CpuState* c) => (c->FlagAux & 8) != 0;

    /// <summary>Result and carries of an addition or subtraction of a width.</summary>
    /// <param name="carries">Carry (borrow) out of each bit.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set<T>(CpuState* c, ulong result, ulong carries) where T : unmanaged
    {
        c->FlagResult = Width.SignExtend<T>(result);
        c->FlagAux = ((carries << (64 - Width.Bits<T>())) & 0xc000_0000_0000_0000) | (carries & 8);
    }

    /// <summary>Result of a logical operation: CF, OF and AF clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetLogic<T>(CpuState* c, ulong result) where T : unmanaged
    {
        c->FlagResult = Width.SignExtend<T>(result);
        c->FlagAux = 0;
    }

    /// <summary>The arithmetic flags as EFLAGS bits.</summary>
    public static uint GetArithmetic(CpuState* c) => (GetCf(c) ? Cf : 0) | (GetPf(c) ? Pf : 0) | (GetAf(c) ? Af : 0) | (GetZf(c) ? Zf : 0) | (GetSf(c) ? Sf : 0) | (GetOf(c) ? Of : 0);

    public static void SetArithmetic(CpuState* c, uint flags)
    {
        c->FlagResult = (flags & Zf) != 0 ? 0 : 1;
        // Low byte 0 has even parity, 1 has odd parity.
        var natural = (flags & Zf) != 0;
        ulong aux = natural == ((flags & Pf) != 0) ? 0u : 0x100u;
        if ((flags & Sf) != 0) aux |= 0x10000;
        if ((flags & Af) != 0) aux |= 8;
        var carry = (flags & Cf) != 0;
        if (carry) aux |= 1ul << 63;
        if (carry != ((flags & Of) != 0)) aux |= 1ul << 62;
        c->FlagAux = aux;
    }

    /// <summary>Changes CF and OF and keeps the rest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetCfOf(CpuState* c, bool cf, bool of) =>
        c->FlagAux = (c->FlagAux & 0x3fff_ffff_ffff_ffff) | (cf ? 1ul << 63 : 0) | (cf != of ? 1ul << 62 : 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetCf(CpuState* c, bool cf) => SetCfOf(c, cf, GetOf(c));

    /// <summary>All of EFLAGS.</summary>
    public static uint Get(CpuState* c) => c->Eflags | GetArithmetic(c) | 2;

    /// <summary>Condition codes 0 to 15 as in the opcodes (SDM 2, appendix B.1.4.7).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Condition(CpuState* c, int code) => code switch
    {
        0 => GetOf(c),
        1 => !GetOf(c),
        2 => GetCf(c),
        3 => !GetCf(c),
        4 => GetZf(c),
        5 => !GetZf(c),
        6 => GetCf(c) || GetZf(c),
        7 => !(GetCf(c) || GetZf(c)),
        8 => GetSf(c),
        9 => !GetSf(c),
        10 => GetPf(c),
        11 => !GetPf(c),
        12 => GetSf(c) != GetOf(c),
        13 => GetSf(c) == GetOf(c),
        14 => GetZf(c) || GetSf(c) != GetOf(c),
        _ => !(GetZf(c) || GetSf(c) != GetOf(c)),
    };
}

/// <summary>Arithmetic on the four operand widths, as 64-bit values with zero upper bits.</summary>
public static unsafe class Width
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Bits<T>() where T : unmanaged => sizeof(T) * 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mask<T>() where T : unmanaged => ulong.MaxValue >> (64 - (sizeof(T) * 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long SignExtend<T>(ulong value) where T : unmanaged =>
        sizeof(T) == 1 ? (sbyte)value : sizeof(T) == 2 ? (short)value : sizeof(T) == 4 ? (int)value : (long)value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong ZeroExtend<T>(ulong value) where T : unmanaged =>
        sizeof(T) == 1 ? (byte)value : sizeof(T) == 2 ? (ushort)value : sizeof(T) == 4 ? (uint)value : value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Load<T>(void* at) where T : unmanaged =>
        sizeof(T) == 1 ? *(byte*)at : sizeof(T) == 2 ? *(ushort*)at : sizeof(T) == 4 ? *(uint*)at : *(ulong*)at;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(void* at, ulong value) where T : unmanaged
    {
        if (sizeof(T) == 1) *(byte*)at = (byte)value;
        else if (sizeof(T) == 2) *(ushort*)at = (ushort)value;
        else if (sizeof(T) == 4) *(uint*)at = (uint)value;
        else *(ulong*)at = value;
    }

    /// <summary>A register operand by its offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Reg<T>(CpuState* c, byte offset) where T : unmanaged => Load<T>((byte*)c + offset);

    /// <summary>A 32-bit result clears the upper half of its register (SDM 1, 3.4.1.1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetReg<T>(CpuState* c, byte offset, ulong value) where T : unmanaged
    {
        if (sizeof(T) == 4) *(ulong*)((byte*)c + offset) = (uint)value;
        else Store<T>((byte*)c + offset, value);
    }
}
