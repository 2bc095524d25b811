namespace XenDM.Cpu.Supervisor;

/// <summary>Bits of control registers and model-specific registers (SDM 3, 2.5; SDM 4).</summary>
internal static class Control
{
    public const ulong Cr0Pe = 1, Cr0Mp = 2, Cr0Em = 4, Cr0Ts = 8, Cr0Et = 0x10, Cr0Ne = 0x20, Cr0Wp = 0x10000, Cr0Am = 0x40000, Cr0Nw = 0x2000_0000, Cr0Cd = 0x4000_0000, Cr0Pg = 0x8000_0000;

    public const ulong Cr4Vme = 1, Cr4Pvi = 2, Cr4Tsd = 4, Cr4De = 8, Cr4Pse = 0x10, Cr4Pae = 0x20, Cr4Mce = 0x40, Cr4Pge = 0x80, Cr4Pce = 0x100, Cr4OsFxsr = 0x200, Cr4OsXmmExcpt = 0x400,
        Cr4Umip = 0x800, Cr4FsGsBase = 0x10000, Cr4Pcide = 0x20000, Cr4OsXsave = 0x40000, Cr4Smep = 0x100000, Cr4Smap = 0x200000;

    public const ulong EferSce = 1, EferLme = 0x100, EferLma = 0x400, EferNxe = 0x800;
}

/// <summary>Exception vectors (SDM 3, table 6-1).</summary>
public static class Vectors
{
    public const int De = 0, Db = 1, Nmi = 2, Bp = 3, Of = 4, Br = 5, Ud = 6, Nm = 7, Df = 8, Ts = 10, Np = 11, Ss = 12, Gp = 13, Pf = 14, Mf = 16, Ac = 17, Mc = 18, Xm = 19;
}
