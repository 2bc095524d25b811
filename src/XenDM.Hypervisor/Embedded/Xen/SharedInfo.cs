using System;
using System.Buffers.Binary;
using System.Numerics;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// The page that a guest shares with Xen: event channels' bits, and the time for each vCPU (xen/public/xen.h, shared_info). Its layout depends on
/// the code that asked for it last.
/// </summary>
internal sealed class SharedInfo(nint page, int vcpus)
{
    private const int VcpuInfoBytes = 64;
    private const int UpcallPending = 0;
    private const int Time = 32;
    private const int TimeTsc = 8;
    private const int TimeSystem = 16;
    private const int TimeMultiplier = 24;
    private const int TimeShift = 28;
    private const int TimeFlags = 29;
    private const int Pending = 2048;

    /// <summary>The vCPUs whose information lies in the page itself.</summary>
    private const int LegacyVcpus = 32;

    /// <summary>1 GHz: TSC ticks times 2 times one half are nanoseconds.</summary>
    private const uint Multiplier = 0x8000_0000;
    private const byte Shift = 1;
    private const byte TscStable = 1;

    public nint Page => page;

    /// <summary>Longs have 64 bits.</summary>
    public bool Is64 { get; set; }

    private Span<byte> Bytes => Physmap.Bytes(page);

    private int LongBits => Is64 ? 64 : 32;

    private int Mask => Pending + (LongBits * LongBits / 8);

    private int Selector => Is64 ? 8 : 4;

    /// <summary>Ports that the layout has room for.</summary>
    public int Ports => LongBits * LongBits;

    public void Clear()
    {
        Bytes.Clear();
        Is64 = false;

        // Everything is masked until the guest takes an interest.
        Bytes.Slice(Pending + (32 * 4), 32 * 4).Fill(0xff);
    }

    /// <summary>Guest time, which runs at the rate of the TSC.</summary>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="tsc">Of the vCPU at that time.</param>
    public void SetTime(int vcpu, ulong now, ulong tsc)
    {
        if (vcpu >= Math.Min(vcpus, LegacyVcpus)) return;
        var time = Bytes.Slice((vcpu * VcpuInfoBytes) + Time, 32);
        var version = BinaryPrimitives.ReadUInt32LittleEndian(time);
        BinaryPrimitives.WriteUInt64LittleEndian(time[TimeTsc..], tsc);
        BinaryPrimitives.WriteUInt64LittleEndian(time[TimeSystem..], now);
        BinaryPrimitives.WriteUInt32LittleEndian(time[TimeMultiplier..], Multiplier);
        time[TimeShift] = Shift;
        time[TimeFlags] = TscStable;
        BinaryPrimitives.WriteUInt32LittleEndian(time, (version | 1) + 1);
    }

    /// <summary>Marks an event channel pending.</summary>
    /// <returns>The vCPU has to be told: the port was not pending before, is not masked, and nor is its word.</returns>
    public bool SetPending(int port, int vcpu)
    {
        if (port <= 0 || port >= Ports || vcpu >= LegacyVcpus) return false;
        if (!SetBit(Pending, port) || Bit(Mask, port)) return false;
        var info = vcpu * VcpuInfoBytes;
        if (!SetBit(info + Selector, port / LongBits)) return false;
        var told = Bytes[info + UpcallPending] != 0;
        Bytes[info + UpcallPending] = 1;
        return !told;
    }

    public bool IsPending(int port) => port > 0 && port < Ports && Bit(Pending, port);

    private bool Bit(int start, int number) => (Bytes[start + (number / 8)] & (1 << (number & 7))) != 0;

    private bool SetBit(int start, int number)
    {
        ref var at = ref Bytes[start + (number / 8)];
        var was = BitOperations.PopCount((uint)(at & (1 << (number & 7)))) != 0;
        at |= (byte)(1 << (number & 7));
        return !was;
    }
}
