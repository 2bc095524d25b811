using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;

namespace XenDM.Testing;

/// <summary>What PV backends see of Xen, with one guest: its nodes, its memory and grants, its event channels.</summary>
public sealed class FakeXen
{
    public const int Guest = 5;

    public FakeXen(IEventLoop loop, int pages = 8192)
    {
        Store = new FakeStore(loop);
        Grants = new FakeGrants(Guest, pages);
        Events = new FakeEvents(Guest);
        Ports = new XenPorts(Store, Grants, Events);
    }

    public FakeStore Store { get; }

    public FakeGrants Grants { get; }

    public FakeEvents Events { get; }

    public XenPorts Ports { get; }

    /// <summary>Writes what a toolstack writes for a device; the two states come last.</summary>
    /// <param name="kind">The folder under the guest's <c>device/</c>.</param>
    /// <param name="backendKind">The folder under <c>backend/</c>.</param>
    /// <param name="nodes">The backend's own.</param>
    /// <returns>The folders of front end and backend.</returns>
    public (string Front, string Back) AddDevice(string kind, string backendKind, int id, params (string Name, string Value)[] nodes)
    {
        var front = $"/local/domain/{Guest}/device/{kind}/{id}";
        var back = $"/local/domain/0/backend/{backendKind}/{Guest}/{id}";
        Store.TryTransact(view =>
        {
            foreach (var (name, value) in nodes) view.Write($"{back}/{name}", value);
            view.Write($"{back}/frontend", front);
            view.Write($"{back}/frontend-id", "5");
            view.Write($"{back}/online", "1");
            view.Write($"{front}/backend", back);
            view.Write($"{front}/backend-id", "0");
            view.Write($"{front}/state", "1");
            view.Write($"{back}/state", "1");
        });
        return (front, back);
    }
}
