using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace XenDM.Cpu.State;

/// <summary>
/// Everything that generated or interpreted code touches while a vCPU runs: registers, lazy flags, segments, the current TLB. Lives in native
/// memory; one a vCPU. Registers stand first, so that an operand is a byte offset from the start of the structure.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CpuState
{
    /// <summary>0 to 15: RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15. 16: always zero. 17: IP of the start of the running block.</summary>
    public fixed ulong R[24];

    public const int ZeroRegister = 16;
    public const int BlockIpRegister = 17;

    /// <summary>Last arithmetic result, sign-extended: ZF, SF and PF come from here. See <see cref="Flags"/>.</summary>
    public long FlagResult;

    /// <summary>Bit 63 CF, bit 62 CF^OF, bit 3 AF, 15:8 correction of PF, bit 16 correction of SF.</summary>
    public ulong FlagAux;

    /// <summary>EFLAGS without CF, PF, AF, ZF, SF, OF.</summary>
    public uint Eflags;

    /// <summary>Current privilege level 0 to 3.</summary>
    public int Cpl;

    /// <summary>Instructions that may still run in this slice.</summary>
    public long Budget;

    /// <summary>Budget that was taken away to leave the loop early; given back by the runner.</summary>
    public long BudgetHeld;

    /// <summary>The TLB of the present privilege (see <see cref="Tlbs"/>), and its generation in bits 11:0 of every tag.</summary>
    public TlbEntry* Tlb;

    public ulong TlbGeneration;

    /// <summary>User; supervisor with SMAP in force; supervisor that may read user pages; always empty (alignment checks).</summary>
    public TlbEntry* Tlbs;

    public const int TlbEntries = 1024;

    public JumpEntry* Jumps;

    public const int JumpEntries = 4096;

    /// <summary>Generation of the jump cache in 63:8, <see cref="Mode"/> and the user bit below.</summary>
    public ulong JumpTag;

    /// <summary>Bits 1:0 code size (0: 16, 1: 32, 2: 64 bit), bit 2 32-bit stack. What code means depends on it.</summary>
    public uint Mode;

    public const uint ModeStack32 = 4;

    /// <summary>Host page of each guest page, or'd with <see cref="Mmu.PhysicalMap.Writable"/>; 0 where there is no memory.</summary>
    public ulong* Pages;

    public ulong PageCount;

    /// <summary>A bit a guest page: code was decoded from it.</summary>
    public uint* CodePages;

    /// <summary>IP at the last exit.</summary>
    public ulong Rip;

    /// <summary>Why the loop was left.</summary>
    public ExitKind Exit;

    public int Vector;
    public uint ErrorCode;

    /// <summary>The exception pushes <see cref="ErrorCode"/>.</summary>
    public int HasErrorCode;

    /// <summary>The IP after STI or a load of SS, where no interrupt is taken.</summary>
    public ulong ShadowRip;

    /// <summary>0, <see cref="ShadowSti"/>, <see cref="ShadowStack"/> or <see cref="ShadowPrefix"/>.</summary>
    public int Shadow;

    /// <summary>STI: interrupts wait for an instruction.</summary>
    public const int ShadowSti = 1;

    /// <summary>A load of SS: debug traps wait as well.</summary>
    public const int ShadowStack = 2;

    /// <summary>The prefix of forced emulation: it and the next instruction are one.</summary>
    public const int ShadowPrefix = 3;

    /// <summary>Handle of the managed <see cref="X86Cpu"/>.</summary>
    public nint Self;

    public SegmentArray Seg;

    public ulong Cr0, Cr2, Cr3, Cr4, Efer;
    public ulong GdtBase, IdtBase;
    public uint GdtLimit, IdtLimit;
    public ulong Star, Lstar, Cstar, Fmask, KernelGsBase, TscAux;
    public ulong SysenterCs, SysenterEsp, SysenterEip;
    public fixed ulong Dr[8];
    public ulong Xcr0;
    public ulong Xss;

    /// <summary>The page directory pointers of PAE paging, loaded with CR3 (SDM 3, 4.4.1).</summary>
    public fixed ulong Pdpte[4];

    /// <summary>Highest IP that a branch may reach outside 64-bit mode.</summary>
    public uint CodeLimit;

    public uint Mxcsr;

    /// <summary>Host flags after such an instruction.</summary>
    public ulong StageFlags;

    /// <summary>The host's own MXCSR while guest code uses the unit.</summary>
    public uint HostMxcsr;

    /// <summary>The guest's MXCSR with all exceptions masked and no flags, while such an instruction runs; its flags afterwards.</summary>
    public uint StageMxcsr;

    /// <summary>Not 0 where other vCPUs take turns on the same thread: PAUSE ends the turn, or whoever waits for a lock would wait a whole slice.</summary>
    public int YieldOnPause;

    /// <summary>Not 0 while a debugger watches memory.</summary>
    public int Debugged;

    /// <summary>2 MiB regions, by address bits 29:21, that the TLB may hold pieces of large pages of.</summary>
    public fixed ulong LargePages[8];

    /// <summary>The same for pages of 1 GiB, by bits 35:30.</summary>
    public ulong GiantPages;

    // What the host's units load and store has to be aligned: it follows the structure in the same piece of memory.
    public const int FxOffset = 4096, YmmOffset = 4608, StageOffset = 5120, Bytes = 8192;

    /// <summary>x87 and MMX state in the layout of FXSAVE64 (SDM 1, table 10-2); its XMM part is not used.</summary>
    public static byte* Fx(CpuState* c) => (byte*)c + FxOffset;

    /// <summary>YMM0 to YMM15, 32 bytes each.</summary>
    public static byte* Ymm(CpuState* c, int register) => (byte*)c + YmmOffset + (register * 32);

    /// <summary>A segment without the check of an index that only the decoder sets.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Segment* SegmentAt(CpuState* c, int index) => (Segment*)&c->Seg + index;

    /// <summary>Memory operand of an instruction that runs on the host's units, 64 bytes.</summary>
    public static byte* Stage(CpuState* c) => (byte*)c + StageOffset;
}

[InlineArray(9)]
public struct SegmentArray
{
    private Segment _first;
}

/// <summary>Why the interpreter loop was left.</summary>
public enum ExitKind
{
    /// <summary>The slice is over or somebody asked for it; <see cref="CpuState.Rip"/> is the next instruction.</summary>
    Budget,

    /// <summary>An exception at <see cref="CpuState.Rip"/>.</summary>
    Exception,

    /// <summary>Nothing to report: look up the code at <see cref="CpuState.Rip"/>.</summary>
    Continue,

    /// <summary>The vCPU waits for another one; <see cref="CpuState.Rip"/> is the next instruction.</summary>
    Yield,

    /// <summary>HLT was executed; <see cref="CpuState.Rip"/> is after it.</summary>
    Halt,

    /// <summary>The CPU cannot go on (triple fault).</summary>
    Shutdown,
}

/// <summary>The hidden part of a segment register.</summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
public struct Segment
{
    public ulong Base;

    /// <summary>In bytes, granularity applied.</summary>
    public uint Limit;

    public ushort Selector;

    /// <summary>Bits 7:0 type, S, DPL, P; bits 15:12 AVL, L, D/B, G; bits 11:8 zero (as in VMX access rights).</summary>
    public ushort Access;

    /// <summary>Accesses that end at or before it need no further check; 0 where every access needs one.</summary>
    public ulong ReadEnd, WriteEnd;

    public const int Es = 0, Cs = 1, Ss = 2, Ds = 3, Fs = 4, Gs = 5, None = 6, Ldt = 7, Tr = 8;
    public const ushort Present = 0x80, NonSystem = 0x10, Code = 0x08, Writable = 0x02, ExpandDown = 0x04, Long = 0x2000, Big = 0x4000, Granular = 0x8000, Accessed = 1, Conforming = 4;

    public readonly int Dpl => (Access >> 5) & 3;

    public readonly int Type => Access & 15;

    public readonly bool Is(ushort bits) => (Access & bits) == bits;
}

/// <summary>One line of the software TLB.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TlbEntry
{
    /// <summary>Linear page and generation when reads may use the host address at once; an impossible value otherwise.</summary>
    public ulong ReadTag;

    public ulong WriteTag;

    /// <summary>Host address minus linear address.</summary>
    public nint Addend;

    /// <summary>Guest physical address of the page.</summary>
    public ulong Physical;

    public const ulong NoTag = ulong.MaxValue;
}

/// <summary>One line of the cache from linear address to decoded block.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct JumpEntry
{
    public ulong Linear;
    public ulong Tag;
    public Block* Block;
}

/// <summary>One decoded instruction, 32 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Op
{
    /// <summary>Runs the instruction and gives the next one; null leaves the loop.</summary>
    public delegate*<CpuState*, Op*, Op*> Handler;

    /// <summary>Operands and address registers as byte offsets into <see cref="CpuState"/>.</summary>
    public byte Dst, Src, Base, Index;

    public byte Scale, Seg;

    /// <summary>Free for the handler (condition, size).</summary>
    public byte Aux;

    /// <summary>Instructions that follow in the block: counted when the block was entered, given back when it is left here.</summary>
    public byte Remaining;

    public int Disp;

    /// <summary>Offsets of this and the next instruction from the start of the block.</summary>
    public ushort Ip, NextIp;

    public ulong Imm;
}

/// <summary>Decoded code: straight on from one address, at most to the end of its page.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Block
{
    public Op* Ops;

    /// <summary>Instructions; <see cref="Dead"/> when the page was written.</summary>
    public int Count;

    public uint Mode;

    /// <summary>Guest physical address of the first byte.</summary>
    public ulong Physical;

    /// <summary>Next in its hash chain, and in its page.</summary>
    public Block* NextInHash, NextInPage;

    public ushort Bytes;
    public ushort OpCount;

    /// <summary>The page in which the last instruction ends when that is another one; otherwise <see cref="ulong.MaxValue"/>.</summary>
    public ulong SecondPage;

    /// <summary>A count that no budget covers, so that a dead block is never entered without a look at it.</summary>
    public const int Dead = 1 << 30;
}
