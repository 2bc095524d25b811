using System;

namespace XenDM.Core.Io;

/// <summary>A region whose accesses are told one by one, as text; block transfers fall apart into items.</summary>
internal sealed class TracedRegion(RegionMapping mapping, IIoRegion region, Action<string> tell) : IIoRegion
{
    public ulong Read(ulong offset, int size)
    {
        var value = region.Read(offset, size) & AddressSpace.Mask(size);
        tell($"{mapping.Name}: {mapping.Base + offset:x} ({size}) reads {value:x}");
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        tell($"{mapping.Name}: {mapping.Base + offset:x} ({size}) takes {value & AddressSpace.Mask(size):x}");
        region.Write(offset, size, value);
    }
}
