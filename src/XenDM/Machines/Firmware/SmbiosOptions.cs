using System;

namespace XenDM.Machines.Firmware;

/// <summary>What SMBIOS says about a machine.</summary>
/// <param name="MemoryBytes">All RAM.</param>
/// <param name="LowMemoryEnd">First address behind the RAM below 4 GiB.</param>
internal sealed record SmbiosOptions(int Cpus, ulong MemoryBytes, ulong LowMemoryEnd)
{
    public Guid Uuid { get; init; }

    public string Manufacturer { get; init; } = "XenDM";

    public string Product { get; init; } = "HVM domU";

    public string Version { get; init; } = "0.1.0";

    public string SerialNumber { get; init; } = "";

    /// <summary>Type 32 wants to be told nothing; what stands in type 0.</summary>
    public string BiosVersion { get; init; } = "SeaBIOS";
}
