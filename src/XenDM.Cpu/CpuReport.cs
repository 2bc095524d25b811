using System;
using System.Text;
using Iced.Intel;
using XenDM.Cpu.State;
using Decoder = Iced.Intel.Decoder;

namespace XenDM.Cpu;

/// <summary>A vCPU as text for people: registers, segments, control registers, and the code that comes next.</summary>
public static unsafe class CpuReport
{
    private const int Instructions = 8;
    private const int MaxInstructionBytes = 15;
    private static readonly string[] s_names = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];
    private static readonly string[] s_segments = ["ES", "CS", "SS", "DS", "FS", "GS", "", "LDT", "TR"];

    /// <summary>Lines that end with a line feed.</summary>
    public static string Make(X86Cpu cpu)
    {
        var c = cpu.State;
        var text = new StringBuilder();
        text.Append($"CPU#{cpu.Index} {(cpu.IsHalted ? "halted" : "running")}, CPL {c->Cpl}, {(c->Mode & 3) switch { 2 => 64, 1 => 32, _ => 16 }}-bit code, {cpu.Instructions} instructions{(cpu.IsInterruptPending ? ", interrupt pending" : "")}{(c->Shadow != 0 && c->ShadowRip == c->Rip ? ", in the shadow of STI or MOV SS" : "")}\n");
        for (var r = 0; r < 16; r++) text.Append($"{s_names[r],-3}={c->R[r]:x16}{((r & 3) == 3 ? '\n' : ' ')}");
        text.Append($"RIP={c->Rip:x16} RFL={Flags.Get(c):x8}\n");
        for (var s = 0; s < 9; s++)
        {
            if (s == Segment.None) continue;
            ref var segment = ref c->Seg[s];
            text.Append($"{s_segments[s],-3}={segment.Selector:x4} {segment.Base:x16} {segment.Limit:x8} {segment.Access:x4}\n");
        }

        text.Append($"GDT={c->GdtBase:x16} {c->GdtLimit:x4} IDT={c->IdtBase:x16} {c->IdtLimit:x4}\n");
        text.Append($"CR0={c->Cr0:x8} CR2={c->Cr2:x16} CR3={c->Cr3:x16} CR4={c->Cr4:x8} EFER={c->Efer:x}\n");
        text.Append(Disassemble(cpu, c->Seg[Segment.Cs].Base + c->Rip, c->Rip, Instructions));
        return text.ToString();
    }

    /// <summary>Instructions as the vCPU would decode them now, a line each.</summary>
    /// <param name="linear">Where they lie.</param>
    /// <param name="ip">What the first line is numbered.</param>
    public static string Disassemble(X86Cpu cpu, ulong linear, ulong ip, int count)
    {
        var bytes = new byte[count * MaxInstructionBytes];
        var length = 0;
        while (length < bytes.Length && cpu.TryReadLinear(linear + (ulong)length, bytes.AsSpan(length, 1))) length++;
        if (length == 0) return "(no code is mapped here)\n";
        var decoder = Decoder.Create((cpu.State->Mode & 3) switch { 2 => 64, 1 => 32, _ => 16 }, new ByteArrayCodeReader(bytes, 0, length));
        decoder.IP = ip;
        var formatter = new FastFormatter();
        var line = new FastStringOutput();
        var text = new StringBuilder();
        for (var n = 0; n < count; n++)
        {
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid) break;
            line.Clear();
            formatter.Format(instruction, line);
            text.Append($"{instruction.IP:x}: {line.ToString()}\n");
        }

        return text.Length > 0 ? text.ToString() : "(no instruction begins here)\n";
    }
}
