namespace XenDM.Core.Io;

/// <summary>One region in an address space; a BAR moves and hides its region here.</summary>
public sealed class RegionMapping
{
    private readonly AddressSpace _space;

    internal RegionMapping(AddressSpace space, string name, ulong start, ulong length, IIoRegion region, int priority, bool enabled)
    {
        _space = space;
        Name = name;
        Base = start;
        Length = length;
        Region = region;
        Priority = priority;
        Enabled = enabled;
    }

    public string Name { get; }

    public IIoRegion Region { get; internal set; }

    /// <summary>Accesses that came here; a block transfer is one.</summary>
    internal ulong Reads;

    /// <inheritdoc cref="Reads"/>
    internal ulong Writes;

    /// <summary>First address.</summary>
    public ulong Base { get; private set; }

    /// <summary>Bytes.</summary>
    public ulong Length { get; }

    /// <summary>Among overlapping mappings the highest wins.</summary>
    public int Priority { get; }

    public bool Enabled { get; private set; }

    /// <summary>Order of the last change, so that among equals the last one wins.</summary>
    internal int Serial { get; set; }

    /// <summary>Moves the region and shows or hides it, as one change of the map.</summary>
    public void Place(ulong start, bool enabled)
    {
        if (Base == start && Enabled == enabled) return;
        var visible = Enabled || enabled;
        Base = start;
        Enabled = enabled;
        if (visible) _space.Changed(this);
    }

    public void Enable(bool enabled) => Place(Base, enabled);

    /// <summary>Takes the region out of the space for good.</summary>
    public void Remove() => _space.Remove(this);
}
