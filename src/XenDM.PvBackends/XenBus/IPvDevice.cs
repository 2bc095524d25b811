using System;
using XenDM.Core.Backends;

namespace XenDM.PvBackends.XenBus;

/// <summary>
/// What is special to a kind of PV device. <see cref="XenBusDevice"/> decides when these are called: always on the machine thread, in the order Offer,
/// Connect, Disconnect, Offer, ... A data plane of its own serves the rings in between.
/// </summary>
public interface IPvDevice : IDisposable
{
    /// <summary>Told that the front end broke the rules while connected; from any thread. The text says how.</summary>
    Action<string>? Broken { get; set; }

    /// <summary>Writes the features that the front end chooses from.</summary>
    void Offer(StoreFolder back);

    /// <summary>Takes the front end's rings and event channels, as its nodes name them, and begins to serve them.</summary>
    /// <exception cref="PvException">They cannot be taken; nothing is held.</exception>
    void Connect(StoreFolder front, StoreFolder back);

    /// <summary>Ends what is in flight; when it returns no memory of the guest is touched or held. Nothing happens where nothing is connected.</summary>
    void Disconnect();

    /// <summary>Waits until nothing is in flight, for a machine that stops or is saved.</summary>
    void Drain();
}

/// <summary>A PV disk, for lists and statistics.</summary>
public interface IPvDisk : IPvDevice
{
    IBlockBackend Image { get; }
}

/// <summary>A kind of backend by its name in xenstore (<c>qdisk</c>), which makes the devices.</summary>
public interface IPvKind
{
    /// <summary>The folder under <c>backend/</c>.</summary>
    string Name { get; }

    /// <summary>The device is this process's to serve, not another backend's that looks at the same folder.</summary>
    bool Serves(StoreFolder front, StoreFolder back) => true;

    /// <param name="id">Its number in xenstore, e.g. 51712.</param>
    /// <param name="back">What the toolstack wrote is there.</param>
    /// <exception cref="PvException">It cannot be served.</exception>
    IPvDevice Create(string id, StoreFolder back);
}
