using System.Runtime.CompilerServices;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// The page that a guest shares with Xen: event channels' bits, the wall clock, and each vCPU's information until the guest gives it another
/// place (xen/public/xen.h, shared_info). Its layout is that of the code that asked for it last.
/// </summary>
internal sealed unsafe class SharedInfo(nint page)
{
    /// <summary>sizeof(struct vcpu_info).</summary>
    public const int VcpuInfoBytes = 64;

    private const int PendingAt = 2048;
    private const int WallClock64 = 3072, WallClock32 = 2304;
    private const int SecondsHigh64 = 3084, SecondsHigh32 = 2340;

    private readonly byte* _page = (byte*)page;

    public nint Page => page;

    /// <summary>Longs have 64 bits.</summary>
    public bool Is64 { get; private set; }

    public int LongBits => Is64 ? 64 : 32;

    /// <summary>Ports that the layout has room for.</summary>
    public int Ports => LongBits * LongBits;

    private byte* Pending => _page + PendingAt;

    private byte* Mask => _page + PendingAt + (LongBits * LongBits / 8);

    /// <summary>Where a vCPU's information lies unless the guest registered another place.</summary>
    public byte* VcpuInfo(int vcpu) => _page + (vcpu * VcpuInfoBytes);

    /// <summary>The layout changes; what lies in the page stays, the guest sets it up anew.</summary>
    public void SetLayout(bool is64, long wallClock)
    {
        Is64 = is64;
        SetWallClock(wallClock);
    }

    /// <summary>The time of day when guest time was 0.</summary>
    /// <param name="nanoseconds">Unix time.</param>
    public void SetWallClock(long nanoseconds)
    {
        var at = _page + (Is64 ? WallClock64 : WallClock32);
        var seconds = (ulong)(nanoseconds / 1_000_000_000);
        Unsafe.WriteUnaligned(at, Unsafe.ReadUnaligned<uint>(at) | 1);
        Unsafe.WriteUnaligned(at + 4, (uint)seconds);
        Unsafe.WriteUnaligned(at + 8, (uint)(nanoseconds % 1_000_000_000));
        Unsafe.WriteUnaligned(_page + (Is64 ? SecondsHigh64 : SecondsHigh32), (uint)(seconds >> 32));
        Unsafe.WriteUnaligned(at, Unsafe.ReadUnaligned<uint>(at) + 1);
    }

    public bool IsPending(uint port) => Bit(Pending, port);

    public bool IsMasked(uint port) => Bit(Mask, port);

    /// <returns>It was clear.</returns>
    public bool TrySetPending(uint port) => TrySet(Pending, port);

    public void ClearPending(uint port)
    {
        if (port < Ports) Pending[port / 8] &= (byte)~(1 << (int)(port & 7));
    }

    public void ClearMask(uint port)
    {
        if (port < Ports) Mask[port / 8] &= (byte)~(1 << (int)(port & 7));
    }

    private bool Bit(byte* bits, uint port) => port < Ports && (bits[port / 8] & (1 << (int)(port & 7))) != 0;

    private bool TrySet(byte* bits, uint port)
    {
        if (port >= Ports || Bit(bits, port)) return false;
        bits[port / 8] |= (byte)(1 << (int)(port & 7));
        return true;
    }
}
