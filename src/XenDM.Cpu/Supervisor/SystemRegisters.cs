using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>Control, debug and model-specific registers.</summary>
internal static unsafe class SystemRegisters
{
    /// <returns>False for a combination that raises #GP (SDM 3, 2.5 and 9.8.5).</returns>
    public static bool SetCr0(CpuState* c, ulong value)
    {
        var old = c->Cr0;
        if (value >> 32 != 0) return false;
        value = (value & 0xe005_003f) | Control.Cr0Et;
        if ((value & Control.Cr0Pg) != 0 && (value & Control.Cr0Pe) == 0) return false;
        if ((value & Control.Cr0Nw) != 0 && (value & Control.Cr0Cd) == 0) return false;
        var turnsOn = (value & Control.Cr0Pg) != 0 && (old & Control.Cr0Pg) == 0;
        var turnsOff = (value & Control.Cr0Pg) == 0 && (old & Control.Cr0Pg) != 0;
        if (turnsOn && (c->Efer & Control.EferLme) != 0)
        {
            if ((c->Cr4 & Control.Cr4Pae) == 0 || c->Seg[Segment.Cs].Is(Segment.Long) || (c->Seg[Segment.Tr].Type & 8) == 0) return false;
            c->Efer |= Control.EferLma;
        }

        if (turnsOff)
        {
            if (Segmentation.Is64(c) || (c->Cr4 & Control.Cr4Pcide) != 0) return false;
            c->Efer &= ~Control.EferLma;
        }

        c->Cr0 = value;
        if (((value ^ old) & (Control.Cr0Pg | Control.Cr0Wp | Control.Cr0Pe)) != 0)
        {
            if (turnsOn && (c->Efer & Control.EferLma) == 0 && (c->Cr4 & Control.Cr4Pae) != 0 && !LoadPdptes(c, c->Cr3))
            {
                c->Cr0 = old;
                return false;
            }

            X86Cpu.Of(c).FlushTlb();
        }

        if ((old & Control.Cr0Pe) == 0 && (value & Control.Cr0Pe) != 0) c->Cpl = 0;
        Segmentation.UpdateMode(c);
        return true;
    }

    public static bool SetCr3(CpuState* c, ulong value)
    {
        if ((c->Efer & Control.EferLma) != 0)
        {
            if ((c->Cr4 & Control.Cr4Pcide) != 0) value &= ~(1ul << 63);
            if (value >> PageWalk.PhysicalBits != 0) return false;
        }
        else if ((c->Cr4 & Control.Cr4Pae) != 0 && (c->Cr0 & Control.Cr0Pg) != 0 && !LoadPdptes(c, value))
        {
            return false;
        }

        c->Cr3 = value;
        X86Cpu.Of(c).FlushTlb();
        return true;
    }

    /// <summary>The four page directory pointers, with their reserved bits checked (SDM 3, 4.4.1).</summary>
    private static bool LoadPdptes(CpuState* c, ulong cr3)
    {
        var at = cr3 & 0xffff_ffe0;
        var entries = stackalloc ulong[4];
        for (var n = 0; n < 4; n++)
        {
            entries[n] = Memory.ReadPhysical(c, at + (ulong)(n * 8), 8);
            if ((entries[n] & 1) != 0 && (entries[n] & 0xffff_ff00_0000_01e6) != 0) return false;
        }

        for (var n = 0; n < 4; n++) c->Pdpte[n] = entries[n];
        return true;
    }

    public static bool SetCr4(CpuState* c, ulong value)
    {
        var cpu = X86Cpu.Of(c);
        if ((value & ~cpu.Features.Cr4Mask) != 0) return false;
        var old = c->Cr4;
        if ((c->Efer & Control.EferLma) != 0)
        {
            if ((value & Control.Cr4Pae) == 0) return false;
        }
        else if ((value & Control.Cr4Pcide) != 0)
        {
            return false;
        }

        if ((value & Control.Cr4Pcide) != 0 && (old & Control.Cr4Pcide) == 0 && (c->Cr3 & 0xfff) != 0) return false;
        c->Cr4 = value;
        const ulong Paging = Control.Cr4Pse | Control.Cr4Pae | Control.Cr4Pge | Control.Cr4Pcide | Control.Cr4Smep | Control.Cr4Smap;
        if (((value ^ old) & Paging) != 0)
        {
            if ((c->Cr0 & Control.Cr0Pg) != 0 && (c->Efer & Control.EferLma) == 0 && (value & Control.Cr4Pae) != 0 && !LoadPdptes(c, c->Cr3))
            {
                c->Cr4 = old;
                return false;
            }

            cpu.FlushTlb();
        }

        Segmentation.UpdateMode(c);
        return true;
    }

    public static bool SetEfer(CpuState* c, ulong value)
    {
        var features = X86Cpu.Of(c).Features;
        var mask = (features.Has64 ? Control.EferSce | Control.EferLme | Control.EferLma : 0) | (features.HasNx ? Control.EferNxe : 0);
        if ((value & ~mask) != 0) return false;
        if ((c->Cr0 & Control.Cr0Pg) != 0 && ((value ^ c->Efer) & Control.EferLme) != 0) return false;
        value = (value & ~Control.EferLma) | (c->Efer & Control.EferLma);
        var changed = value ^ c->Efer;
        c->Efer = value;
        if ((changed & Control.EferNxe) != 0) X86Cpu.Of(c).FlushTlb();
        return true;
    }

    /// <returns>False raises #GP.</returns>
    public static bool ReadMsr(CpuState* c, uint index, out ulong value)
    {
        value = 0;
        var cpu = X86Cpu.Of(c);
        switch (index)
        {
            case 0x10: value = cpu.Bus.ReadTsc(cpu); return true;
            case 0x174: value = c->SysenterCs; return true;
            case 0x175: value = c->SysenterEsp; return true;
            case 0x176: value = c->SysenterEip; return true;
            case 0xc000_0080: value = c->Efer; return cpu.Features.HasNx || cpu.Features.Has64;
            case 0xc000_0081: value = c->Star; return cpu.Features.Has64;
            case 0xc000_0082: value = c->Lstar; return cpu.Features.Has64;
            case 0xc000_0083: value = c->Cstar; return cpu.Features.Has64;
            case 0xc000_0084: value = c->Fmask; return cpu.Features.Has64;
            case 0xc000_0100: value = c->Seg[Segment.Fs].Base; return cpu.Features.Has64;
            case 0xc000_0101: value = c->Seg[Segment.Gs].Base; return cpu.Features.Has64;
            case 0xc000_0102: value = c->KernelGsBase; return cpu.Features.Has64;
            case 0xc000_0103: value = c->TscAux; return cpu.Features.Has64;
            default: return cpu.Bus.ReadMsr(cpu, index, out value) || cpu.Msrs.Read(index, out value);
        }
    }

    /// <inheritdoc cref="ReadMsr"/>
    public static bool WriteMsr(CpuState* c, uint index, ulong value)
    {
        var cpu = X86Cpu.Of(c);
        var has64 = cpu.Features.Has64;
        switch (index)
        {
            case 0x10: cpu.Bus.WriteTsc(cpu, value); return true;
            case 0x174: c->SysenterCs = (uint)value; return true;
            case 0x175: return SetCanonical(ref c->SysenterEsp, value);
            case 0x176: return SetCanonical(ref c->SysenterEip, value);
            case 0xc000_0080: return (cpu.Features.HasNx || has64) && SetEfer(c, value);
            case 0xc000_0081: c->Star = value; return has64;
            case 0xc000_0082: return has64 && SetCanonical(ref c->Lstar, value);
            case 0xc000_0083: return has64 && SetCanonical(ref c->Cstar, value);
            case 0xc000_0084: return has64 && Set32(ref c->Fmask, value);
            case 0xc000_0100: return has64 && SetCanonical(ref c->Seg[Segment.Fs].Base, value);
            case 0xc000_0101: return has64 && SetCanonical(ref c->Seg[Segment.Gs].Base, value);
            case 0xc000_0102: return has64 && SetCanonical(ref c->KernelGsBase, value);
            case 0xc000_0103: return has64 && Set32(ref c->TscAux, value);
            default: return cpu.Bus.WriteMsr(cpu, index, value) || cpu.Msrs.Write(index, value);
        }
    }

    private static bool Set32(ref ulong register, ulong value)
    {
        if (value >> 32 != 0) return false;
        register = value;
        return true;
    }

    private static bool SetCanonical(ref ulong register, ulong value)
    {
        if (!Memory.IsCanonical(value)) return false;
        register = value;
        return true;
    }
}
