using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Console;

/// <summary>
/// PV consoles behind the first, and channels, which are consoles with a name (<c>console</c>). The folder of backends is shared with xenconsoled, which
/// serves the first console and those that the toolstack does not mark with the type <c>ioemu</c>.
/// </summary>
public sealed class ConsoleKind(XenPorts ports, int guest, IPvLines lines, IEventLoop loop) : IPvKind
{
    private const string FirstConsole = "0";
    private const string ServedHere = "ioemu";

    private readonly List<ConsoleLine> _lines = [];

    public string Name => "console";

    public bool Serves(StoreFolder front, StoreFolder back) => Tell("type", front, back) == ServedHere;

    public IPvDevice Create(string id, StoreFolder back)
    {
        if (id == FirstConsole) throw new PvException("the guest's first console is not served: its page has no grant, and xenconsoled can serve it");
        var front = new StoreFolder(back.Store, back.Read("frontend") ?? throw new PvException("frontend is missing"));

        // Read once, before the guest can have put another one there: the folder is its own.
        var output = Tell("output", front, back) ?? throw new PvException("output is missing");
        var backend = lines.Open($"{Name}-{id}", output);
        var line = _lines.Find(l => l.Backend == backend);
        if (line is null)
        {
            line = new ConsoleLine(backend);
            _lines.Add(line);
            backend.Attach(line);
        }

        if (line.Device is not null) throw new PvException($"{backend.Label} is another console's");
        return line.Device = new ConsoleDevice(ports, guest, backend, loop, front, () => Leave(line));
    }

    /// <summary>libxl writes what concerns the backend only into the front end's folder, where the guest may but read it.</summary>
    private static string? Tell(string name, StoreFolder front, StoreFolder back) => back.Read(name) ?? front.Read(name);

    private void Leave(ConsoleLine line)
    {
        line.Device = null;
        if (lines.Close(line.Backend)) _lines.Remove(line);
    }
}

/// <summary>What is attached to a character backend for good, while consoles come and go. Without one, input waits.</summary>
internal sealed class ConsoleLine(ICharBackend backend) : ICharFrontend
{
    public ICharBackend Backend => backend;

    public ConsoleDevice? Device { get; set; }

    public int ReceiveRoom => Device?.InputRoom ?? 0;

    public void Receive(System.ReadOnlySpan<byte> data) => Device?.Receive(data);

    public void Event(CharEvent e)
    {
        // The ring has no word for it.
    }

    public void WriteReady() => Device?.WriteReady();
}
