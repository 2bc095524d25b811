using System;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web;

internal static class Program
{
    /// <returns>0, or 1 after a mistake in the set-up.</returns>
    private static async Task<int> Main(string[] arguments)
    {
        try
        {
            if (WebOptions.Parse(arguments) is not { } options)
            {
                Console.WriteLine(WebOptions.Help);
                return 0;
            }

            using var end = new CancellationTokenSource();
            void Stop(PosixSignalContext signal)
            {
                signal.Cancel = true;
                end.Cancel();
            }

            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
            using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
            var server = await WebServer.StartAsync(options).ConfigureAwait(false);
            await using (server.ConfigureAwait(false))
            {
                Console.WriteLine($"xendm-web: {server.Address}");
                if (options.UntilEof) WatchStandardInput(end);
                await server.RunAsync(end.Token).ConfigureAwait(false);
            }

            return 0;
        }
        catch (UsageException e)
        {
            await Console.Error.WriteLineAsync($"xendm-web: {e.Message}").ConfigureAwait(false);
            return 1;
        }
    }

    /// <summary>Who started this program holds the other end, and lets go of it also when it is killed.</summary>
    private static void WatchStandardInput(CancellationTokenSource end)
    {
        var thread = new Thread(() =>
        {
            using var input = Console.OpenStandardInput();
            Span<byte> buffer = stackalloc byte[256];
            while (input.Read(buffer) > 0) { }
            end.Cancel();
        })
        { IsBackground = true, Name = "standard input" };
        thread.Start();
    }
}
