using System;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;

namespace XenDM.Run;

/// <summary>A port whose first write ends the process, as QEMU's isa-debug-exit: the status is twice the value, plus 1.</summary>
internal sealed class DebugExit(Action<int> quit) : IIoRegion
{
    public const ushort DefaultPort = 0xf4;
    public const int Bytes = 4;

    public ulong Read(ulong offset, int size) => 0;

    public void Write(ulong offset, int size, ulong value) => quit((int)((value << 1) | 1) & 0xff);
}

/// <summary>
/// What test programs use to look at the machine from outside, at the addresses of QEMU's pc-testdev: ports that give back what was written (0xe0 and
/// 0xe8), a port for pages that leave and come back (0xe4, nothing to see here), the ISA interrupt lines (0x2000 and up), memory that only answers
/// accesses (0xff000000).
/// </summary>
internal static class TestDevices
{
    private const int EchoBytes = 4;
    private const int IsaLines = 16;
    private const int WindowBytes = 0x1_0000;

    public static void Map(AddressSpace ports, AddressSpace memory, IHypervisor hypervisor)
    {
        ports.Map("test echo", 0xe0, EchoBytes, new Store(EchoBytes));
        ports.Map("test page", 0xe4, EchoBytes, new Nothing());
        ports.Map("test echo of bytes", 0xe8, EchoBytes, new Store(EchoBytes));
        ports.Map("test interrupt lines", 0x2000, IsaLines, new Lines(hypervisor));
        memory.Map("test memory", 0xff00_0000, WindowBytes, new Store(WindowBytes));
    }

    /// <summary>Registers that keep what was written.</summary>
    private sealed class Store(int bytes) : IIoRegion
    {
        private readonly byte[] _bytes = new byte[bytes];

        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size && (int)offset + i < _bytes.Length; i++) value |= (ulong)_bytes[(int)offset + i] << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            for (var i = 0; i < size && (int)offset + i < _bytes.Length; i++) _bytes[(int)offset + i] = (byte)(value >> (8 * i));
        }
    }

    private sealed class Lines(IHypervisor hypervisor) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => AddressSpace.Mask(size);

        public void Write(ulong offset, int size, ulong value) => hypervisor.SetIsaIrq((int)offset, value != 0);
    }
}
