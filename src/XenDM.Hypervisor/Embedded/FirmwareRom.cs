using System;
using System.IO;
using XenDM.Cpu.Mmu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded;

/// <summary>The firmware's flash: read-only memory that ends at 4 GiB.</summary>
internal sealed class FirmwareRom : IDisposable
{
    private readonly nint _host;
    private readonly nuint _length;

    /// <exception cref="IOException">The image is larger than 16 MiB, or the host has no memory.</exception>
    public FirmwareRom(ReadOnlySpan<byte> image, PhysicalMap map)
    {
        var bytes = (image.Length + 0xfff) & ~0xfff;
        if (bytes > 16 << 20) throw new IOException($"a firmware of {image.Length} bytes is larger than 16 MiB");
        _length = (nuint)bytes;
        var result = Posix.Map(0, _length, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Private | MapFlags.Anonymous, -1, 0, out _host);
        if (result < 0) throw new IOException($"no memory for the firmware: {Errno.Describe(result)}");
        HostMemory.CopyTo(image, _host + (bytes - image.Length));
        map.Map((GuestRam.FourGiB - (ulong)bytes) >> PhysicalMap.PageBits, (ulong)bytes >> PhysicalMap.PageBits, _host, false);
    }

    /// <summary>How far below 4 GiB it begins.</summary>
    public ulong Bytes => _length;

    /// <summary>Where the image's end is shadowed below 1 MiB: at most its last 128 KiB.</summary>
    /// <returns>First address.</returns>
    public ulong LegacyStart => (1 << 20) - Math.Min(_length, 128 << 10);

    /// <summary>Host address of a byte below 1 MiB, from <see cref="LegacyStart"/> on.</summary>
    public nint LegacyHost(ulong address) => _host + (nint)(_length - ((1 << 20) - (nuint)address));

    public void Dispose() => Posix.Unmap(_host, _length);
}
